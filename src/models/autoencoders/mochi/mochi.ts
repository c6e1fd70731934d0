/**
 * Mochi's autoencoder (Genmo, 2024), Diffusers' `AutoencoderKLMochi`: convolutions that see no later frame and norms of single frames; the
 * encoder is told every pixel in sines and cosines too, and lets each look at its own past. Works on whole videos.
 *
 * Notation: x [B, C, T, H, W].
 */
import { concat, multiHeadAttention } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { MASKED } from '../../../nn/attention/attention-mask.ts';
import { convolution } from '../../../nn/conv.ts';
import { linear } from '../../../nn/linear.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { groupNorm } from '../../../nn/norms.ts';
import { dims, floatTensor } from '../../../tensor/tensor.ts';
import type { ConfigReader } from '../../config-reader.ts';
import { defineAutoencoder } from '../definition.ts';
import { gaussian } from '../gaussian.ts';
import { causalConvolution } from '../hunyuanvideo/causal.ts';
import { booleans, checkLevels } from '../levels.ts';

interface MochiConfig {
  imageChannels: number;
  outChannels: number;
  latentChannels: number;
  /** Channels of each level, the largest pictures first. */
  encoderWidths: readonly number[];
  decoderWidths: readonly number[];
  /** Blocks before the first level, behind each step between levels, and behind the last. */
  layers: readonly number[];
  /** Which of these the encoder follows by attention. */
  attention: readonly boolean[];
  /** By how much each step between levels changes time and space. */
  time: readonly number[];
  space: readonly number[];
  scalingFactor: number;
  latentsMean: readonly number[] | undefined;
  latentsStd: readonly number[] | undefined;
}

const groups = 32;
const epsilon = 1e-5;
const headWidth = 32;
/** Frequencies that the encoder is told pixels in. */
const frequencies = [2 ** 6, 2 ** 7].map((frequency) => Math.fround(frequency * Math.fround(2 * Math.PI)));
/** Channels that a channel of the picture becomes. */
const features = 1 + 2 * frequencies.length;

export const autoencoderKlMochi = defineAutoencoder<MochiConfig>({
  className: 'AutoencoderKLMochi',
  parseConfig,

  traits: (config) => ({
    latentChannels: config.latentChannels,
    spatialScale: product(config.space),
    temporalScale: product(config.time),
    wholeVideos: true,
    scalingFactor: config.scalingFactor,
    shiftFactor: 0,
    ...(config.latentsMean &&
      config.latentsStd && {
        latentsMean: config.latentsMean,
        latentsStd: config.latentsStd.map((deviation) => deviation / config.scalingFactor),
      }),
    tiles: { size: 256, overlap: 0.25 },
    // Five tensors of the first level's width, for every frame, those that are left out included.
    bytesPerPixel: (frames) => 20 * config.decoderWidths[0]! * frames * product(config.time),
  }),

  functions: {
    encode: {
      inputs: ({ imageChannels }) => [
        { name: 'image', kind: 'float', shape: ['batch', imageChannels, 'frames', 'height', 'width'] },
      ],
      build: (m, { image }, config) => gaussian(encoder(m.at('encoder'), image!, config)),
    },
    decode: {
      inputs: ({ latentChannels }) => [
        { name: 'latents', kind: 'float', shape: ['batch', latentChannels, 'frames', 'height', 'width'] },
      ],
      // What comes before the first frame is left out.
      build: (m, { latents }, config) => ({
        image: decoder(m.at('decoder'), latents!, config).slice(2, product(config.time) - 1),
      }),
    },
  },
});

function product(values: readonly number[]): number {
  return values.reduce((all, value) => all * value, 1);
}

function parseConfig(config: ConfigReader): MochiConfig {
  config.requires('act_fn', 'silu');
  const encoderWidths = config.counts('encoder_block_out_channels', [64, 128, 256, 384]);
  const decoderWidths = config.counts('decoder_block_out_channels', [128, 256, 512, 768]);
  const layers = config.integers('layers_per_block', [3, 3, 4, 6, 3], { min: 0 });
  const attention = booleans(config, 'add_attention_block', [false, true, true, true, true]);
  const time = config.counts('temporal_expansions', [1, 2, 3]);
  const space = config.counts('spatial_expansions', [2, 2, 2]);
  const steps = encoderWidths.length - 1;
  checkLevels(config, steps + 1, { decoder_block_out_channels: decoderWidths });
  checkLevels(config, steps + 2, { layers_per_block: layers, add_attention_block: attention });
  checkLevels(config, steps, { temporal_expansions: time, spatial_expansions: space });
  const latentChannels = config.count('latent_channels', 12);
  const ofLatents = (name: string, read: () => readonly number[]) => {
    const values = config.json[name] === null ? undefined : read();
    if (values) checkLevels(config, latentChannels, { [name]: values });
    return values;
  };
  return {
    imageChannels: config.count('in_channels', 15) / features,
    outChannels: config.count('out_channels', 3),
    latentChannels,
    encoderWidths,
    decoderWidths,
    layers,
    attention,
    time,
    space,
    scalingFactor: config.positive('scaling_factor', 1),
    latentsMean: ofLatents('latents_mean', () => config.numbers('latents_mean', latentsMean)),
    latentsStd: ofLatents('latents_std', () => config.positives('latents_std', latentsStd)),
  };
}

const latentsMean = [
  -0.06730895953510081, -0.038011381506090416, -0.07477820912866141, -0.05565264470995561, 0.012767231469026969,
  -0.04703542746246419, 0.043896967884726704, -0.09346305707025976, -0.09918314763016893, -0.008729793427399178,
  -0.011931556316503654, -0.0321993391887285,
];
const latentsStd = [
  0.9263795028493863, 0.9248894543193766, 0.9393059390890617, 0.959253732819592, 0.8244560132752793, 0.917259975397747,
  0.9294154431013696, 1.3720942357788521, 0.881393668867029, 0.9168315692124348, 0.9185249279345552, 0.9274757570805041,
];

const encoder = layer((m, image: SymbolicTensor, config: MochiConfig): SymbolicTensor => {
  const { encoderWidths: widths, layers, attention, time, space, latentChannels } = config;
  let x = pointwise(m.at('proj_in'), inFrequencies(image), widths[0]!);
  x = blocks(m.at('block_in'), x, { count: layers[0]!, attends: attention[0]! });
  for (const [step, width] of widths.slice(1).entries()) {
    const block = m.at(`down_blocks.${step}`);
    const stride = [time[step]!, space[step]!, space[step]!] as const;
    x = causalConvolution(block.at('conv_in'), x, { width, kernel: stride, stride });
    x = blocks(block, x, { count: layers[step + 1]!, attends: attention[step + 1]! });
  }
  x = blocks(m.at('block_out'), x, { count: layers.at(-1)!, attends: attention.at(-1)! });
  const out = frameNorm(m.at('norm_out'), x).silu();
  return pointwise(m.at('proj_out'), out, 2 * latentChannels, false);
});

const decoder = layer((m, latents: SymbolicTensor, config: MochiConfig): SymbolicTensor => {
  const { decoderWidths, layers, time, space, outChannels } = config;
  const widths = decoderWidths.toReversed();
  let x = convolution(m.at('conv_in'), latents, { outChannels: widths[0]!, kernel: 1 });
  x = blocks(m.at('block_in'), x, { count: layers.at(-1)!, attends: false });
  for (const [index, width] of widths.slice(1).entries()) {
    const block = m.at(`up_blocks.${index}`);
    const step = time.length - 1 - index;
    x = blocks(block, x, { count: layers[step + 1]!, attends: false });
    x = enlarge(block.at('proj'), x, { width, time: time[step]!, space: space[step]! });
  }
  x = blocks(m.at('block_out'), x, { count: layers[0]!, attends: false });
  return pointwise(m.at('proj_out'), x.silu(), outChannels);
});

/** The picture, and the sines and cosines of all frequencies of every channel. */
function inFrequencies(image: SymbolicTensor): SymbolicTensor {
  const [batch, channels, ...size] = dims(image, 5);
  const turns = image.graph.constant(floatTensor(frequencies, [1, 1, frequencies.length, 1, 1, 1]));
  const angles = image
    .unsqueeze(2)
    .mul(turns)
    .reshape([batch, channels * frequencies.length, ...size]);
  return concat([image, angles.sin(), angles.cos()], 1);
}

/** A linear layer over the channels. */
function pointwise(m: Module, x: SymbolicTensor, width: number, bias = true): SymbolicTensor {
  return linear(m, x.transpose([0, 2, 3, 4, 1]), width, { bias }).transpose([0, 4, 1, 2, 3]);
}

function blocks(m: Module, x: SymbolicTensor, { count, attends }: { count: number; attends: boolean }): SymbolicTensor {
  let out = x;
  for (let i = 0; i < count; i++) {
    out = resnet(m.at(`resnets.${i}`), out);
    if (attends) out = out.add(attentionToPast(m.at(`attentions.${i}`), frameNorm(m.at(`norms.${i}`), out)));
  }
  return out;
}

const resnet = layer((m, x: SymbolicTensor): SymbolicTensor => {
  const width = x.dim(1);
  let hidden = causalConvolution(m.at('conv1'), frameNorm(m.at('norm1'), x).silu(), { width });
  hidden = causalConvolution(m.at('conv2'), frameNorm(m.at('norm2'), hidden).silu(), { width });
  return hidden.add(x);
});

/** Group norm of every frame by itself. */
function frameNorm(m: Module, x: SymbolicTensor): SymbolicTensor {
  const [batch, width, frames, height, columns] = dims(x, 5);
  const each = x.transpose([0, 2, 1, 3, 4]).reshape([batch * frames, width, height, columns]);
  return groupNorm(m.at('norm_layer'), each, groups, epsilon)
    .reshape([batch, frames, width, height, columns])
    .transpose([0, 2, 1, 3, 4]);
}

/** Attention of every pixel to itself in this frame and in earlier ones; queries and keys have length 1. */
const attentionToPast = layer((m, x: SymbolicTensor): SymbolicTensor => {
  const [batch, width, frames, height, columns] = dims(x, 5);
  const heads = width / headWidth;
  const tokens = x.transpose([0, 3, 4, 2, 1]).reshape([batch * height * columns, frames, width]);
  const project = (name: string) => linear(m.at(name), tokens, width, { bias: false });
  const normed = (y: SymbolicTensor) => {
    const perHead = y.reshape([-1, frames, heads, headWidth]);
    return perHead.div(perHead.norm(3).clamp(1e-12, undefined)).reshape([-1, frames, width]);
  };
  const later = Array.from({ length: frames ** 2 }, (_, i) => (i % frames > Math.floor(i / frames) ? MASKED : 0));
  const attended = multiHeadAttention({
    query: normed(project('to_q')),
    key: normed(project('to_k')),
    value: project('to_v'),
    numHeads: heads,
    bias: x.graph.constant(floatTensor(later, [1, 1, frames, frames])),
  });
  return linear(m.at('to_out.0'), attended, width)
    .reshape([batch, height, columns, frames, width])
    .transpose([0, 4, 3, 1, 2]);
});

interface Enlarge {
  width: number;
  time: number;
  space: number;
}

/** Channels that become frames and pixels. */
const enlarge = layer((m, x: SymbolicTensor, { width, time, space }: Enlarge): SymbolicTensor => {
  const [batch, , frames, height, columns] = dims(x, 5);
  return pointwise(m, x, width * time * space ** 2)
    .reshape([batch, width, time, space, space, frames, height, columns])
    .transpose([0, 1, 5, 2, 6, 3, 7, 4])
    .reshape([batch, width, frames * time, height * space, columns * space]);
});
