/** Nodes of ControlNets: that of a model which has one, and what it sees. */
import { type Input, type Inputs, type NodeClass, NodeRefusal } from '../graph/node.ts';
import type { Control, Value } from '../graph/values.ts';
import { modelCalled, modelNames } from './loaders.ts';

const conditioning: Input = { type: 'CONDITIONING' };
const share = (value: number): Input => ({ type: 'FLOAT', default: value, min: 0, max: 1, step: 0.001 });

const outputs: NodeClass['outputs'] = [
  ['CONDITIONING', 'positive'],
  ['CONDITIONING', 'negative'],
];

const inputs: NodeClass['inputs'] = {
  positive: conditioning,
  negative: conditioning,
  control_net: { type: 'CONTROL_NET' },
  image: { type: 'IMAGE' },
  strength: { type: 'FLOAT', default: 1, min: 0, max: 10, step: 0.01 },
  start_percent: share(0),
  end_percent: share(1),
};

function apply(given: Inputs): readonly Value[] {
  const image = given.link('image', 'IMAGE');
  if (image.from !== 'file')
    throw new NodeRefusal('image', 'only pictures that were sent can be seen here; send what was drawn as an upload');
  const control: Control = {
    model: given.link('control_net', 'CONTROL_NET').model,
    picture: image.picture,
    strength: given.number('strength'),
    from: given.number('start_percent'),
    to: given.number('end_percent'),
  };
  return (['positive', 'negative'] as const).map((name) => {
    const condition = given.link(name, 'CONDITIONING');
    if (condition.control) throw new NodeRefusal(name, 'has a ControlNet already, and one acts here');
    return { ...condition, control };
  });
}

export const controlNets: Readonly<Record<string, NodeClass>> = {
  ControlNetLoader: {
    title: 'Load ControlNet Model',
    category: 'loaders',
    description: 'The ControlNet of a model that has one.',
    inputs: { control_net_name: modelNames },
    outputs: [['CONTROL_NET', 'CONTROL_NET']],
    read: (given, { core }) => [{ type: 'CONTROL_NET', model: modelCalled(core, given.text('control_net_name'))! }],
  },
  ControlNetApplyAdvanced: {
    title: 'Apply ControlNet',
    category: 'conditioning/controlnet',
    description: 'It sees a picture that was sent, and acts in the steps that lie whole between the two shares.',
    inputs: { ...inputs, vae: { type: 'VAE', optional: true } },
    outputs,
    read: apply,
  },
  ControlNetApplySD3: {
    title: 'Apply Controlnet with VAE',
    category: 'conditioning/controlnet',
    description: 'As Apply ControlNet: pictures are encoded by the model that the ControlNet belongs to.',
    inputs: { ...inputs, vae: { type: 'VAE' } },
    outputs,
    read: apply,
  },
};
