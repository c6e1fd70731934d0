/** Nodes that say what sampling starts from, and those that decode what it came to. */
import { type Input, type Inputs, type NodeClass, NodeRefusal } from '../graph/node.ts';
import type { Value } from '../graph/values.ts';
import { emptied } from '../lazy-pictures.ts';

const side: Input = { type: 'INT', default: 512, min: 16, max: 16384, step: 8 };
const batchSize: Input = { type: 'INT', default: 1, min: 1, max: 4096 };
const latentOutput: NodeClass['outputs'] = [['LATENT', 'LATENT']];

const oneSampler = 'what is drawn cannot be drawn on here; send it back as an upload, in a second prompt';

const emptyLatent: NodeClass = {
  title: 'Empty Latent Image',
  category: 'latent',
  inputs: { width: side, height: side, batch_size: batchSize },
  outputs: latentOutput,
  read: (inputs) => {
    const [width, height, count] = ['width', 'height', 'batch_size'].map((name) => inputs.number(name));
    return [{ type: 'LATENT', from: 'noise', width: width!, height: height!, count: count! }];
  },
};

const emptyVideo = (title: string, category: string, [width, height, length]: [number, number, number]): NodeClass => ({
  title,
  category,
  inputs: {
    width: { ...side, default: width },
    height: { ...side, default: height },
    length: { type: 'INT', default: length, min: 1, max: 16384, step: 4 },
    batch_size: batchSize,
  },
  outputs: latentOutput,
  read: (inputs) => {
    const sizes = ['width', 'height', 'batch_size', 'length'].map((name) => inputs.number(name));
    const [width, height, count, frames] = sizes as [number, number, number, number];
    return [{ type: 'LATENT', from: 'noise', width, height, count, frames }];
  },
});

function decode(inputs: Inputs): readonly Value[] {
  const latent = inputs.link('samples', 'LATENT');
  if (latent.from === 'steps')
    throw new NodeRefusal('samples', 'is noise that a second KSamplerAdvanced has to take away first');
  if (latent.from !== 'drawing') throw new NodeRefusal('samples', 'only what a sampler made can be decoded here');
  const { model } = inputs.link('vae', 'VAE');
  if (model !== latent.drawing.model)
    throw new NodeRefusal('vae', `is of '${model}': parts of different models cannot be mixed`);
  return [{ type: 'IMAGE', from: 'drawing', drawing: latent.drawing }];
}

/** A picture to start from. */
function sentPixels(inputs: Inputs) {
  const image = inputs.link('pixels', 'IMAGE');
  if (image.from === 'file') return image.picture;
  throw new NodeRefusal('pixels', oneSampler);
}

export const latents: Readonly<Record<string, NodeClass>> = {
  EmptyLatentImage: emptyLatent,
  EmptySD3LatentImage: { ...emptyLatent, title: 'EmptySD3LatentImage', category: 'latent/sd3' },
  EmptyHunyuanLatentVideo: emptyVideo('EmptyHunyuanLatentVideo', 'latent/video', [848, 480, 25]),
  EmptyLTXVLatentVideo: emptyVideo('EmptyLTXVLatentVideo', 'latent/video/ltxv', [768, 512, 97]),
  VAEEncode: {
    title: 'VAE Encode',
    category: 'latent',
    inputs: { pixels: { type: 'IMAGE' }, vae: { type: 'VAE' } },
    outputs: latentOutput,
    read: (inputs) => [{ type: 'LATENT', from: 'picture', picture: sentPixels(inputs) }],
  },
  SetLatentNoiseMask: {
    title: 'Set Latent Noise Mask',
    category: 'latent/inpaint',
    description: 'For models that inpaint. A pixel is drawn anew from half a mask on.',
    inputs: { samples: { type: 'LATENT' }, mask: { type: 'MASK' } },
    outputs: latentOutput,
    read: (inputs) => {
      const latent = inputs.link('samples', 'LATENT');
      if (latent.from !== 'picture')
        throw new NodeRefusal('samples', 'only a picture that was sent can be masked here');
      return [{ ...latent, mask: inputs.link('mask', 'MASK').picture }];
    },
  },
  VAEEncodeForInpaint: {
    title: 'VAE Encode (for Inpainting)',
    category: 'latent/inpaint',
    description: 'For models that inpaint. What the mask covers is grey.',
    inputs: {
      pixels: { type: 'IMAGE' },
      vae: { type: 'VAE' },
      mask: { type: 'MASK' },
      grow_mask_by: { type: 'INT', default: 6, min: 0, max: 64 },
    },
    outputs: latentOutput,
    read: (inputs) => {
      const inpaint = emptied(sentPixels(inputs), inputs.link('mask', 'MASK').picture, inputs.number('grow_mask_by'));
      return [{ type: 'LATENT', from: 'picture', ...inpaint }];
    },
  },
  VAEDecode: {
    title: 'VAE Decode',
    category: 'latent',
    inputs: { samples: { type: 'LATENT' }, vae: { type: 'VAE' } },
    outputs: [['IMAGE', 'IMAGE']],
    read: decode,
  },
  VAEDecodeTiled: {
    title: 'VAE Decode (Tiled)',
    category: 'experimental',
    description: 'As VAE Decode: large pictures are decoded in tiles anyway, of a size that the model has.',
    inputs: {
      samples: { type: 'LATENT' },
      vae: { type: 'VAE' },
      tile_size: { type: 'INT', default: 512, min: 64, max: 4096, step: 32 },
      overlap: { type: 'INT', default: 64, min: 0, max: 4096, step: 32, optional: true },
      temporal_size: { type: 'INT', default: 64, min: 8, max: 4096, step: 4, optional: true },
      temporal_overlap: { type: 'INT', default: 8, min: 4, max: 4096, step: 4, optional: true },
    },
    outputs: [['IMAGE', 'IMAGE']],
    read: (inputs) => {
      inputs.note('tile_size and overlap have no effect: tiles are those of the model, from its sizes on');
      return decode(inputs);
    },
  },
};
