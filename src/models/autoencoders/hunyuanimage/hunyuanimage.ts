/**
 * The autoencoder of HunyuanImage 2.1 (Tencent, 2025), Diffusers' `AutoencoderKLHunyuanImage`: 32 pixels per latent and edge.
 *
 * KL's residual blocks, attention in the middle, and instead of strides pixels that move into channels and back, with shortcuts without
 * weights as in the deep compression autoencoder (arXiv 2410.10733).
 */
import { DejaDitError } from '../../../errors/errors.ts';
import { multiHeadAttention } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { convolution } from '../../../nn/conv.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { groupNorm } from '../../../nn/norms.ts';
import { dims } from '../../../tensor/tensor.ts';
import type { ConfigReader } from '../../config-reader.ts';
import { averageGroups, repeatChannels } from '../channels.ts';
import { defineAutoencoder } from '../definition.ts';
import { gaussian } from '../gaussian.ts';
import { conv3x3, resnet } from '../kl/kl.ts';

interface HunyuanImageConfig {
  inChannels: number;
  outChannels: number;
  latentChannels: number;
  /** Channels of each level, the largest picture first. */
  widths: readonly number[];
  layersPerBlock: number;
  /** Pixels per latent along an edge. */
  scale: number;
  sampleSize: number;
  scalingFactor: number;
  /** Whether the width changes where the size does, and not behind it. */
  matchDown: boolean;
  matchUp: boolean;
}

const groups = 32;
const epsilon = 1e-6;

export const autoencoderKlHunyuanImage = defineAutoencoder<HunyuanImageConfig>({
  className: 'AutoencoderKLHunyuanImage',
  parseConfig,
  traits: ({ latentChannels, scale, scalingFactor, sampleSize, widths }) => ({
    latentChannels,
    spatialScale: scale,
    sampleSize,
    scalingFactor,
    shiftFactor: 0,
    tiles: { size: sampleSize, overlap: 0.25 },
    bytesPerPixel: () => 5 * 4 * (widths[1] ?? widths[0]!),
  }),
  functions: {
    encode: {
      inputs: ({ inChannels }) => [{ name: 'image', kind: 'float', shape: ['batch', inChannels, 'height', 'width'] }],
      build: (m, { image }, config) => gaussian(encoder(m.at('encoder'), image!, config)),
    },
    decode: {
      inputs: ({ latentChannels }) => [
        { name: 'latents', kind: 'float', shape: ['batch', latentChannels, 'height', 'width'] },
      ],
      build: (m, { latents }, config) => ({ image: decoder(m.at('decoder'), latents!, config) }),
    },
  },
});

function parseConfig(config: ConfigReader): HunyuanImageConfig {
  const widths = config.counts('block_out_channels');
  const latentChannels = config.count('latent_channels');
  const scale = config.count('spatial_compression_ratio');
  // Where levels end, pixels go into channels, as often as the scale is halved.
  if (2 ** (widths.length - 1) < scale || !Number.isInteger(Math.log2(scale)))
    throw new DejaDitError('INVALID_CONFIG', `'spatial_compression_ratio' is ${scale} for ${widths.length} levels`, {
      path: config.origin,
    });
  if (widths.at(-1)! % (2 * latentChannels) !== 0)
    throw new DejaDitError(
      'INVALID_CONFIG',
      `'block_out_channels' end with ${widths.at(-1)}, no multiple of ${2 * latentChannels}`,
      {
        path: config.origin,
      },
    );
  return {
    inChannels: config.count('in_channels', 3),
    outChannels: config.count('out_channels', 3),
    latentChannels,
    widths,
    layersPerBlock: config.count('layers_per_block'),
    scale,
    sampleSize: config.integer('sample_size'),
    scalingFactor: config.nullable('scaling_factor', (name) => config.positive(name)) ?? 1,
    matchDown: config.boolean('downsample_match_channel', true),
    matchUp: config.boolean('upsample_match_channel', true),
  };
}

/** Emits one block behind the other, numbered through all levels. */
function pyramid(m: Module, x: SymbolicTensor, { widths, blocks, scale, match, resize }: Pyramid): SymbolicTensor {
  let [hidden, index] = [x, 0];
  for (const [level, width] of widths.entries()) {
    for (let i = 0; i < blocks; i++) hidden = resnet(m.at(index++), hidden, width, { groups });
    if (level < Math.log2(scale) && level < widths.length - 1)
      hidden = resize(m.at(index++), hidden, match ? widths[level + 1]! : width);
  }
  return hidden;
}

interface Pyramid {
  widths: readonly number[];
  blocks: number;
  scale: number;
  match: boolean;
  resize(m: Module, x: SymbolicTensor, width: number): SymbolicTensor;
}

const encoder = layer((m, image: SymbolicTensor, config: HunyuanImageConfig): SymbolicTensor => {
  const { widths, layersPerBlock: blocks, scale, matchDown, latentChannels } = config;
  const first = conv3x3(m.at('conv_in'), image, widths[0]!);
  const small = pyramid(m.at('down_blocks'), first, { widths, blocks, scale, match: matchDown, resize: halve });
  const x = middle(m.at('mid_block'), small);
  return head(m, x, 2 * latentChannels).add(averageGroups(x, 2 * latentChannels));
});

const decoder = layer((m, latents: SymbolicTensor, config: HunyuanImageConfig): SymbolicTensor => {
  const { widths: outwards, layersPerBlock, scale, matchUp, outChannels } = config;
  const widths = outwards.toReversed();
  const first = conv3x3(m.at('conv_in'), latents, widths[0]!).add(repeatChannels(latents, widths[0]!));
  const x = middle(m.at('mid_block'), first);
  const blocks = layersPerBlock + 1;
  return head(m, pyramid(m.at('up_blocks'), x, { widths, blocks, scale, match: matchUp, resize: double }), outChannels);
});

function head(m: Module, x: SymbolicTensor, outChannels: number): SymbolicTensor {
  return conv3x3(m.at('conv_out'), groupNorm(m.at('norm_out'), x, groups, epsilon).silu(), outChannels);
}

const middle = layer((m, x: SymbolicTensor): SymbolicTensor => {
  const width = x.dim(1);
  const before = resnet(m.at('resnets.0'), x, width, { groups });
  return resnet(m.at('resnets.1'), pixelAttention(m.at('attentions.0'), before), width, { groups });
});

/** Self-attention of all pixels in one head, added to them. */
const pixelAttention = layer((m, x: SymbolicTensor): SymbolicTensor => {
  const [batch, width, height, columns] = dims(x, 4);
  const normed = groupNorm(m.at('norm'), x, groups, epsilon);
  const tokens = (name: string) =>
    convolution(m.at(name), normed, { outChannels: width, kernel: 1 })
      .reshape([batch, width, height * columns])
      .transpose([0, 2, 1]);
  const attended = multiHeadAttention({
    query: tokens('to_q'),
    key: tokens('to_k'),
    value: tokens('to_v'),
    numHeads: 1,
  });
  const pixels = attended.transpose([0, 2, 1]).reshape(x.shape);
  return x.add(convolution(m.at('proj'), pixels, { outChannels: width, kernel: 1 }));
});

const halve = layer((m, x: SymbolicTensor, width: number): SymbolicTensor => {
  return toChannels(conv3x3(m.at('conv'), x, width / 4)).add(averageGroups(toChannels(x), width));
});

const double = layer((m, x: SymbolicTensor, width: number): SymbolicTensor => {
  return toPixels(conv3x3(m.at('conv'), x, 4 * width)).add(toPixels(repeatChannels(x, 4 * width)));
});

/** Pixels of 2×2 squares as channels, place by place: [B, C, H, W] → [B, 4·C, H / 2, W / 2]. */
function toChannels(x: SymbolicTensor): SymbolicTensor {
  const [batch, channels, height, width] = dims(x, 4);
  return x
    .reshape([batch, channels, height / 2, 2, width / 2, 2])
    .transpose([0, 3, 5, 1, 2, 4])
    .reshape([batch, 4 * channels, height / 2, width / 2]);
}

/** The way back: [B, 4·C, H, W] → [B, C, 2·H, 2·W]. */
function toPixels(x: SymbolicTensor): SymbolicTensor {
  const [batch, channels, height, width] = dims(x, 4);
  return x
    .reshape([batch, 2, 2, channels / 4, height, width])
    .transpose([0, 3, 4, 1, 5, 2])
    .reshape([batch, channels / 4, 2 * height, 2 * width]);
}
