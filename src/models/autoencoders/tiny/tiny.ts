/**
 * TAESD (Ollin Boer Bohan, 2023), Diffusers' `AutoencoderTiny`: a small and fast stand-in for the KL autoencoders, good for
 * previews. Nothing but 3×3 convolutions, ReLUs and shortcuts; its layers are numbered through. It has no distribution: `mean`
 * is the latents.
 */
import { upsampleNearest } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { type ConvolutionOptions, convolution } from '../../../nn/conv.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { layerRange } from '../../config-reader.ts';
import { defineAutoencoder } from '../definition.ts';
import { checkLevels } from '../levels.ts';

interface Level {
  width: number;
  blocks: number;
}

interface TinyConfig {
  inChannels: number;
  outChannels: number;
  latentChannels: number;
  encoderLevels: readonly Level[];
  decoderLevels: readonly Level[];
  upsampling: number;
  scalingFactor: number;
  shiftFactor: number;
}

export const autoencoderTiny = defineAutoencoder<TinyConfig>({
  className: 'AutoencoderTiny',

  parseConfig(config) {
    config.requires('act_fn', 'relu');
    config.requires('upsample_fn', 'nearest');
    const levels = (side: 'encoder' | 'decoder', blocks: readonly number[]): Level[] => {
      const widths = config.integers(`${side}_block_out_channels`, [64, 64, 64, 64]);
      const counts = config.integers(`num_${side}_blocks`, blocks, layerRange);
      checkLevels(config, widths.length, { [`num_${side}_blocks`]: counts });
      return widths.map((width, level) => ({ width, blocks: counts[level]! }));
    };
    return {
      inChannels: config.integer('in_channels', 3),
      outChannels: config.integer('out_channels', 3),
      latentChannels: config.integer('latent_channels', 4),
      encoderLevels: levels('encoder', [1, 3, 3, 3]),
      decoderLevels: levels('decoder', [3, 3, 3, 1]),
      upsampling: config.integer('upsampling_scaling_factor', 2),
      scalingFactor: config.positive('scaling_factor', 1),
      shiftFactor: config.number('shift_factor', 0),
    };
  },

  traits: ({ latentChannels, scalingFactor, shiftFactor, encoderLevels, decoderLevels }) => ({
    latentChannels,
    spatialScale: 2 ** (encoderLevels.length - 1),
    scalingFactor,
    shiftFactor,
    tiles: { size: 512, overlap: 0.125 },
    bytesPerPixel: () => 5 * 4 * decoderLevels.at(-1)!.width,
  }),

  functions: {
    encode: {
      inputs: ({ inChannels }) => [{ name: 'image', kind: 'float', shape: ['batch', inChannels, 'height', 'width'] }],
      build: (m, { image }, { encoderLevels, latentChannels }) => {
        const layers = numbered(m.at('encoder.layers'));
        // The network was trained on pixels in 0..1.
        let x = image!.add(1).div(2);
        for (const [level, { width, blocks }] of encoderLevels.entries()) {
          x = conv3x3(layers(), x, width, level === 0 ? {} : { stride: 2, bias: false });
          for (let i = 0; i < blocks; i++) x = block(layers(), x);
        }
        return { mean: conv3x3(layers(), x, latentChannels) };
      },
    },
    decode: {
      inputs: ({ latentChannels }) => [
        { name: 'latents', kind: 'float', shape: ['batch', latentChannels, 'height', 'width'] },
      ],
      build: (m, { latents }, { decoderLevels, outChannels, upsampling }) => {
        const layers = numbered(m.at('decoder.layers'));
        // Latents are softly clamped to -3..3.
        let x = conv3x3(layers(), latents!.div(3).tanh().mul(3), decoderLevels[0]!.width).relu();
        layers(); // the activation
        for (const [level, { width, blocks }] of decoderLevels.entries()) {
          const last = level === decoderLevels.length - 1;
          for (let i = 0; i < blocks; i++) x = block(layers(), x);
          if (!last) {
            layers(); // the upsampling
            x = upsampleNearest(x, [upsampling, upsampling]);
          }
          x = conv3x3(layers(), x, last ? outChannels : width, { bias: last });
        }
        return { image: x.mul(2).sub(1) };
      },
    },
  },
});

/** Hands out the modules 0, 1, 2, … of a sequence. */
function numbered(m: Module): () => Module {
  let next = 0;
  return () => m.at(next++);
}

/** Three convolutions and a shortcut. */
const block = layer((m, x: SymbolicTensor): SymbolicTensor => {
  const width = x.dim(1);
  const first = conv3x3(m.at('conv.0'), x, width).relu();
  const second = conv3x3(m.at('conv.2'), first, width).relu();
  return conv3x3(m.at('conv.4'), second, width).add(x).relu();
});

function conv3x3(
  m: Module,
  x: SymbolicTensor,
  outChannels: number,
  options: Pick<ConvolutionOptions, 'stride' | 'bias'> = {},
): SymbolicTensor {
  return convolution(m, x, { outChannels, kernel: 3, padding: 1, ...options });
}
