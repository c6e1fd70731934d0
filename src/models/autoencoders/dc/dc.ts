/**
 * The deep compression autoencoder of Sana (arXiv 2410.10733), Diffusers' `AutoencoderDC`: 32 to 128 pixels per latent and edge,
 * no distribution (`mean` is the latents).
 *
 * A pyramid whose upper levels are residual convolutions and whose lower ones are EfficientViT blocks (linear attention on
 * several scales, then a gated convolution). What makes the compression learnable are shortcuts without weights: pixels move into
 * channels, groups of which are averaged (down) or repeated (up), around every change of size and at both ends of the latents.
 */

import { concat, conv, upsampleNearest } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { linearAttention } from '../../../nn/attention/attention.ts';
import { convolution, gatedConvolution, pixelShuffle, pixelUnshuffle } from '../../../nn/conv.ts';
import { activate, type BiasOption, linear } from '../../../nn/linear.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { rmsNorm } from '../../../nn/norms.ts';
import { dims } from '../../../tensor/tensor.ts';
import { averageGroups, repeatChannels } from '../channels.ts';
import { defineAutoencoder } from '../definition.ts';
import { type DcConfig, type DcLevel, type DcPyramid, parseDcConfig } from './config.ts';

const epsilon = 1e-5;

export const autoencoderDc = defineAutoencoder<DcConfig>({
  className: 'AutoencoderDC',
  ignoredWeights: [{ names: /\.num_batches_tracked$/, reason: 'a counter that training keeps beside batch norms' }],
  parseConfig: parseDcConfig,
  traits: ({ latentChannels, encoder, decoder, scalingFactor }) => ({
    latentChannels,
    spatialScale: 2 ** (encoder.levels.length - 1),
    scalingFactor,
    shiftFactor: 0,
    tiles: { size: 512, overlap: 0.125 },
    bytesPerPixel: () => 5 * 4 * decoder.levels[1]!.width,
  }),
  functions: {
    encode: {
      inputs: ({ inChannels }) => [{ name: 'image', kind: 'float', shape: ['batch', inChannels, 'height', 'width'] }],
      build: (m, { image }, { encoder, latentChannels }) => ({
        mean: encode(m.at('encoder'), image!, encoder, latentChannels),
      }),
    },
    decode: {
      inputs: ({ latentChannels }) => [
        { name: 'latents', kind: 'float', shape: ['batch', latentChannels, 'height', 'width'] },
      ],
      build: (m, { latents }, config) => ({ image: decode(m.at('decoder'), latents!, config) }),
    },
  },
});

const encode = layer((m, image: SymbolicTensor, pyramid: DcPyramid, latentChannels: number): SymbolicTensor => {
  const { levels, shuffle, shortcut } = pyramid;
  // A first level without blocks is skipped: the image is halved at once.
  let x =
    levels[0]!.blocks > 0
      ? conv3x3(m.at('conv_in'), image, levels[0]!.width)
      : halve(m.at('conv_in'), image, { width: levels[1]!.width, shuffle, shortcut: false });
  for (const [index, level] of levels.entries()) {
    const next = levels[index + 1];
    const layers = m.at(`down_blocks.${index}`);
    for (let i = 0; i < level.blocks; i++) x = block(layers.at(i), x, level);
    if (next && level.blocks > 0) x = halve(layers.at(level.blocks), x, { width: next.width, shuffle, shortcut: true });
  }
  const latents = conv3x3(m.at('conv_out'), x, latentChannels);
  return shortcut ? latents.add(averageGroups(x, latentChannels)) : latents;
});

const decode = layer((m, latents: SymbolicTensor, { decoder, inChannels }: DcConfig): SymbolicTensor => {
  const { levels, shuffle, shortcut, lastActivation } = decoder;
  const width = levels.at(-1)!.width;
  let x = conv3x3(m.at('conv_in'), latents, width);
  if (shortcut) x = x.add(repeatChannels(latents, width));
  for (const [index, level] of [...levels.entries()].reverse()) {
    const layers = m.at(`up_blocks.${index}`);
    // The first module of a level is the one that doubles the size, except at the lowest level.
    const doubles = index < levels.length - 1 && level.blocks > 0;
    if (doubles) x = double(layers.at(0), x, { width: level.width, shuffle, shortcut: true });
    for (let i = 0; i < level.blocks; i++) x = block(layers.at(doubles ? i + 1 : i), x, level);
  }
  x = activate(channelRmsNorm(m.at('norm_out'), x), lastActivation);
  return levels[0]!.blocks > 0
    ? conv3x3(m.at('conv_out'), x, inChannels)
    : double(m.at('conv_out'), x, { width: inChannels, shuffle, shortcut: false });
});

interface Resize {
  width: number;
  /** Pixels move into channels (or back); otherwise stride 2 (or nearest neighbours). */
  shuffle: boolean;
  shortcut: boolean;
}

const halve = layer((m, x: SymbolicTensor, { width, shuffle, shortcut }: Resize): SymbolicTensor => {
  const halved = shuffle
    ? pixelUnshuffle(conv3x3(m.at('conv'), x, width / 4), 2)
    : convolution(m.at('conv'), x, { outChannels: width, kernel: 3, padding: 1, stride: 2 });
  return shortcut ? halved.add(averageGroups(pixelUnshuffle(x, 2), width)) : halved;
});

const double = layer((m, x: SymbolicTensor, { width, shuffle, shortcut }: Resize): SymbolicTensor => {
  const doubled = shuffle
    ? pixelShuffle(conv3x3(m.at('conv'), x, 4 * width), 2)
    : conv3x3(m.at('conv'), upsampleNearest(x, [2, 2]), width);
  return shortcut ? doubled.add(pixelShuffle(repeatChannels(x, 4 * width), 2)) : doubled;
});

function block(m: Module, x: SymbolicTensor, level: DcLevel): SymbolicTensor {
  return level.attention ? vitBlock(m, x, level) : residualBlock(m, x, level);
}

const residualBlock = layer((m, x: SymbolicTensor, { norm, activation }: DcLevel): SymbolicTensor => {
  const hidden = activate(conv3x3(m.at('conv1'), x, x.dim(1)), activation);
  return x.add(normalize(m.at('norm'), conv3x3(m.at('conv2'), hidden, x.dim(1), { bias: false }), norm));
});

const vitBlock = layer((m, x: SymbolicTensor, level: DcLevel): SymbolicTensor => {
  const width = x.dim(1);
  const attended = x.add(multiscaleAttention(m.at('attn'), x, level));
  const mixed = gatedConvolution(m.at('conv_out'), attended, { inner: 4 * width, outChannels: width });
  return attended.add(channelRmsNorm(m.at('conv_out.norm'), mixed));
});

/**
 * Linear attention whose heads come from the projections themselves and, for each scale, from the projections averaged over a
 * neighbourhood. Every head's query, key and value lie together in the channels.
 */
const multiscaleAttention = layer((m, x: SymbolicTensor, { headDim, scales, norm }: DcLevel): SymbolicTensor => {
  const [batch, width, height, columns] = dims(x, 4);
  const inner = Math.floor(width / headDim) * headDim;
  // Linear layers over channels, as 1×1 convolutions.
  const project = (name: string) =>
    conv(x, { weight: m.at(name).weight('weight', [inner, width]).reshape([inner, width, 1, 1]) });
  const qkv = concat([project('to_q'), project('to_k'), project('to_v')], 1);
  const channels = 3 * inner;
  const ofScales = scales.map((kernel, i) => {
    const scale = m.at(`to_qkv_multiscale.${i}`);
    const padding = Math.floor(kernel / 2);
    const options = { outChannels: channels, bias: false };
    const near = convolution(scale.at('proj_in'), qkv, { ...options, kernel, padding, groups: channels });
    return convolution(scale.at('proj_out'), near, { ...options, kernel: 1, groups: channels / headDim });
  });
  const heads = ((1 + scales.length) * inner) / headDim;
  const tokens = concat([qkv, ...ofScales], 1)
    .reshape([batch, heads, 3, headDim, height * columns])
    .transpose([2, 0, 4, 1, 3])
    .reshape([3, batch, height * columns, heads * headDim]);
  const [query, key, value] = tokens.chunk(3, 0).map((part) => part.squeeze(0)) as [
    SymbolicTensor,
    SymbolicTensor,
    SymbolicTensor,
  ];
  const attended = linear(m.at('to_out'), linearAttention(m, { query, key, value, heads }), width, { bias: false });
  return normalize(m.at('norm_out'), attended.transpose([0, 2, 1]).reshape(x.shape), norm);
});

function normalize(m: Module, x: SymbolicTensor, norm: DcLevel['norm']): SymbolicTensor {
  return norm === 'rms_norm' ? channelRmsNorm(m, x) : batchNorm(m, x);
}

/** RMSNorm with a bias over the channels of x [B, C, H, W]. */
const channelRmsNorm = layer((m, x: SymbolicTensor): SymbolicTensor => {
  const channels = x.dim(1);
  const normalized = rmsNorm(m, x.transpose([0, 2, 3, 1]), epsilon).add(m.weight('bias', [channels]));
  return normalized.transpose([0, 3, 1, 2]);
});

/** `nn.BatchNorm2d` with its running statistics: one scale and shift per channel. */
const batchNorm = layer((m, x: SymbolicTensor): SymbolicTensor => {
  const channels = x.dim(1);
  const perChannel = (name: string) => m.weight(name, [channels]);
  const scale = perChannel('weight').div(perChannel('running_var').add(epsilon).sqrt());
  const shift = perChannel('bias').sub(perChannel('running_mean').mul(scale));
  return x.mul(scale.reshape([channels, 1, 1])).add(shift.reshape([channels, 1, 1]));
});

function conv3x3(m: Module, x: SymbolicTensor, outChannels: number, options: BiasOption = {}): SymbolicTensor {
  return convolution(m, x, { outChannels, kernel: 3, padding: 1, ...options });
}
