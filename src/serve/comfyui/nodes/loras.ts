/** Nodes that bring LoRAs to a model: those that the server has, by the names of their files. */
import type { Core } from '../../core.ts';
import type { Input, Inputs, NodeClass } from '../graph/node.ts';
import type { ModelUse } from '../graph/values.ts';

const named = (core: Core, name: string): string | undefined => {
  const { names } = core.loras;
  return names.find((known) => known === name || `${known}.safetensors` === name);
};
const loraName: Input = {
  type: 'COMBO',
  choices: ({ core }) => core.loras.names,
  find: (name, { core }) => named(core, name),
};
const strength: Input = { type: 'FLOAT', default: 1, min: -100, max: 100, step: 0.01 };
const model: Input = { type: 'MODEL' };

/** The model with one more LoRA, or more of one that it has; those of all requests stay. */
function withLora(inputs: Inputs, core: Core): { type: 'MODEL' } & ModelUse {
  const use = inputs.link('model', 'MODEL');
  const name = named(core, inputs.text('lora_name'))!;
  const loras = use.loras ?? core.loras.active;
  return { ...use, loras: { ...loras, [name]: (loras[name] ?? 0) + inputs.number('strength_model') } };
}

export const loras: Readonly<Record<string, NodeClass>> = {
  LoraLoader: {
    title: 'Load LoRA',
    category: 'loaders',
    inputs: { model, clip: { type: 'CLIP' }, lora_name: loraName, strength_model: strength, strength_clip: strength },
    outputs: [
      ['MODEL', 'MODEL'],
      ['CLIP', 'CLIP'],
    ],
    read: (inputs, { core }) => {
      if (inputs.number('strength_clip') !== inputs.number('strength_model'))
        inputs.note('strength_clip has no effect: text encoders are changed as the model is, by strength_model');
      return [withLora(inputs, core), inputs.link('clip', 'CLIP')];
    },
  },
  LoraLoaderModelOnly: {
    title: 'LoraLoaderModelOnly',
    category: 'loaders',
    inputs: { model, lora_name: loraName, strength_model: strength },
    outputs: [['MODEL', 'MODEL']],
    read: (inputs, { core }) => [withLora(inputs, core)],
  },
};
