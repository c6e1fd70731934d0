/** Nodes that name a model of the server, whole or by its parts. */
import type { Core } from '../../core.ts';
import { type Input, type Inputs, type NodeClass, NodeRefusal, type Surroundings } from '../graph/node.ts';

export const modelNames: Input = {
  type: 'COMBO',
  choices: ({ core }) => core.models.list().map(({ name }) => name),
  find: (name, { core }) => modelCalled(core, name),
};
/** Whether an input takes the name of a model. */
export const isModelName = (input: Input): boolean => input === modelNames;

const anyOf = (...choices: string[]): Input => ({ type: 'COMBO', choices: () => choices, open: true });
const device: Input = { ...anyOf('default', 'cpu'), optional: true };

/** A model of the server by its name; a file's ending does not count. */
export function modelCalled(core: Core, name: string): string | undefined {
  return core.models.find(name) ?? core.models.find(name.replace(/\.(safetensors|sft|ckpt|gguf)$/i, ''));
}

const part =
  (type: 'MODEL' | 'CLIP' | 'VAE', input: string) =>
  (inputs: Inputs, { core }: Surroundings) => [{ type, model: modelCalled(core, inputs.text(input))! }];

/** Several names, which have to be those of one model. */
function severalClips(count: number, ...types: string[]): Pick<NodeClass, 'inputs' | 'outputs' | 'read'> {
  const names = Array.from({ length: count }, (_, i) => `clip_name${i + 1}`);
  return {
    inputs: {
      ...Object.fromEntries(names.map((name) => [name, modelNames])),
      ...(types.length > 0 ? { type: anyOf(...types), device } : {}),
    },
    outputs: [['CLIP', 'CLIP']],
    read: (inputs, { core }) => {
      const [first, ...others] = names.map((name) => modelCalled(core, inputs.text(name))!);
      const other = others.findIndex((model) => model !== first);
      if (other >= 0) throw new NodeRefusal(names[other + 1]!, `text encoders come with their model: '${first}'`);
      return [{ type: 'CLIP', model: first! }];
    },
  };
}

export const loaders: Readonly<Record<string, NodeClass>> = {
  CheckpointLoaderSimple: {
    title: 'Load Checkpoint',
    category: 'loaders',
    inputs: { ckpt_name: modelNames },
    outputs: [
      ['MODEL', 'MODEL'],
      ['CLIP', 'CLIP'],
      ['VAE', 'VAE'],
    ],
    read: (inputs, { core }) => {
      const model = modelCalled(core, inputs.text('ckpt_name'))!;
      return (['MODEL', 'CLIP', 'VAE'] as const).map((type) => ({ type, model }));
    },
  },
  UNETLoader: {
    title: 'Load Diffusion Model',
    category: 'advanced/loaders',
    inputs: { unet_name: modelNames, weight_dtype: { type: 'COMBO', choices: () => ['default'] } },
    outputs: [['MODEL', 'MODEL']],
    read: part('MODEL', 'unet_name'),
  },
  CLIPLoader: {
    title: 'Load CLIP',
    category: 'advanced/loaders',
    description: 'The text encoders of a model; which they are it says itself.',
    inputs: { clip_name: modelNames, type: anyOf('flux', 'sd3', 'wan', 'qwen_image', 'lumina2'), device },
    outputs: [['CLIP', 'CLIP']],
    read: part('CLIP', 'clip_name'),
  },
  DualCLIPLoader: {
    title: 'DualCLIPLoader',
    category: 'advanced/loaders',
    description: 'The text encoders of a model; both names are its own.',
    ...severalClips(2, 'flux', 'sd3', 'sdxl', 'hunyuan_video'),
  },
  TripleCLIPLoader: {
    title: 'TripleCLIPLoader',
    category: 'advanced/loaders',
    description: 'The text encoders of a model; all names are its own.',
    ...severalClips(3),
  },
  VAELoader: {
    title: 'Load VAE',
    category: 'loaders',
    inputs: { vae_name: modelNames },
    outputs: [['VAE', 'VAE']],
    read: part('VAE', 'vae_name'),
  },
};
