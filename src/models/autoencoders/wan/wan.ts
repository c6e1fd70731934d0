/**
 * The causal video autoencoder of Wan (arXiv 2503.20314), Diffusers' `AutoencoderKLWan` (2.1 and 2.2),
 * `AutoencoderKLQwenImage` (2.1 with other weights) and `AutoencoderKLQwenImage21` (2.2 for pictures with transparency, of whose kernels
 * only what meets a first frame is left): a KL autoencoder in three dimensions that sees no later frame.
 *
 * A video of 1 + 4·n frames has 1 + n latent frames: the first frame is encoded alone, as an image is. Both functions work on
 * whole videos, or on a stream of chunks: give `history: {}` with the first chunk (which begins with the first frame) and with
 * every later one the `history.*` outputs of the chunk before.
 *
 * Notation: x [B, C, T, H, W]. Wan 2.2 works on 2×2 pixel patches and has shortcuts without weights around whole levels.
 */

import { conv, gemm, multiHeadAttention, upsampleNearest } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { dims } from '../../../tensor/tensor.ts';
import type { IgnoredWeights } from '../../definition.ts';
import { type AutoencoderFamily, defineAutoencoder } from '../definition.ts';
import { gaussian } from '../gaussian.ts';
import { causalConvolution, doubleFrames, frameKernel, type History, halveFrames, pointConvolution } from './causal.ts';
import { parseWanConfig, pictureDefaults, type WanConfig, type WanDefaults, wanDefaults } from './config.ts';
import { averageDown, fromPatches, repeatUp, toPatches } from './shuffle.ts';
import { streamed } from './stream.ts';

export const autoencoderKlWan = defineWan('AutoencoderKLWan', wanDefaults);
export const autoencoderKlQwenImage = defineWan('AutoencoderKLQwenImage', wanDefaults);
export const autoencoderKlQwenImage21 = defineWan('AutoencoderKLQwenImage21', pictureDefaults, [
  { names: /\.time_conv\./, reason: 'layers that would make several frames of one' },
]);

function defineWan(
  className: string,
  defaults: WanDefaults,
  ignoredWeights: readonly IgnoredWeights[] = [],
): AutoencoderFamily {
  return defineAutoencoder<WanConfig>({
    className,
    ignoredWeights,
    parseConfig: (config) => parseWanConfig(config, defaults),
    traits: (config) => ({
      latentChannels: config.latentChannels,
      spatialScale: 2 ** config.temporal.length * config.patch,
      temporalScale: temporalScale(config),
      scalingFactor: 1,
      shiftFactor: 0,
      latentsMean: config.latentsMean,
      latentsStd: config.latentsStd,
      clampsImage: true,
      tiles: { size: 256, overlap: 0.25 },
      // A single frame needs no history; of several, history makes most of it, three times while it is handed over.
      bytesPerPixel: (frames) => ((frames === 1 ? 24 : 340) * config.decoderWidths[0]!) / config.patch ** 2,
    }),
    functions: {
      encode: streamed({
        input: 'image',
        inputChannels: ({ imageChannels }) => imageChannels,
        ofPictures: ({ ofPictures }) => ofPictures,
        framesPerStep: temporalScale,
        build: (m, image, config, history) => {
          const moments = encoder(m.at('encoder'), toPatches(image, config.patch), config, history);
          return gaussian(pointConvolution(m.at('quant_conv'), moments, 2 * config.latentChannels, history));
        },
      }),
      decode: streamed({
        input: 'latents',
        inputChannels: ({ latentChannels }) => latentChannels,
        ofPictures: ({ ofPictures }) => ofPictures,
        framesPerStep: () => 1,
        build: (m, latents, config, history) => {
          const hidden = pointConvolution(m.at('post_quant_conv'), latents, config.latentChannels, history);
          return { image: fromPatches(decoder(m.at('decoder'), hidden, config, history), config.patch) };
        },
      }),
    },
  });
}

/** Frames per latent frame. */
function temporalScale({ temporal, ofPictures }: WanConfig): number {
  return ofPictures ? 1 : 2 ** temporal.filter(Boolean).length;
}

const encoder = layer((m, image: SymbolicTensor, config: WanConfig, history: History): SymbolicTensor => {
  const { encoderWidths: widths, residual, blocks, temporal } = config;
  let x = causalConvolution(m.at('conv_in'), image, config.encoderStem, history);
  // Wan 2.1 numbers all modules of the way down through.
  let next = 0;
  for (const [level, width] of widths.entries()) {
    const last = level === widths.length - 1;
    const block = m.at(`down_blocks.${level}`);
    const before = x;
    for (let i = 0; i < blocks; i++) {
      x = resnet(residual ? block.at(`resnets.${i}`) : m.at(`down_blocks.${next++}`), x, width, history);
    }
    const time = temporal[level] ? 2 : 1;
    if (!last) {
      const downsampler = residual ? block.at('downsampler') : m.at(`down_blocks.${next++}`);
      x = downsample(downsampler, x, time === 2, history);
    }
    if (residual) x = x.add(averageDown(before, { width, time: last ? 1 : time, space: last ? 1 : 2 }));
  }
  return head(m, middle(m.at('mid_block'), x, history), 2 * config.latentChannels, history);
});

const decoder = layer((m, latents: SymbolicTensor, config: WanConfig, history: History): SymbolicTensor => {
  const { decoderWidths: widths, residual, blocks, temporal, patch } = config;
  let x = causalConvolution(m.at('conv_in'), latents, widths.at(-1)!, history);
  x = middle(m.at('mid_block'), x, history);
  for (const [index, width] of widths.toReversed().entries()) {
    const block = m.at(`up_blocks.${index}`);
    const before = x;
    for (let i = 0; i <= blocks; i++) x = resnet(block.at(`resnets.${i}`), x, width, history);
    const level = widths.length - 1 - index;
    if (level === 0) continue;
    const time = temporal[level - 1]!;
    x = residual
      ? upsample(block.at('upsampler'), x, { width, time, history })
      : upsample(block.at('upsamplers.0'), x, { width: width / 2, time, history });
    if (residual) {
      const repeated = repeatUp(before, { width, time: time ? 2 : 1, space: 2 });
      x = x.add(history.first && time ? repeated.slice(2, -1) : repeated);
    }
  }
  return head(m, x, config.imageChannels * patch ** 2, history);
});

function head(m: Module, x: SymbolicTensor, outChannels: number, history: History): SymbolicTensor {
  return causalConvolution(m.at('conv_out'), channelNorm(m.at('norm_out'), x).silu(), outChannels, history);
}

const middle = layer((m, x: SymbolicTensor, history: History): SymbolicTensor => {
  const before = resnet(m.at('resnets.0'), x, x.dim(1), history);
  return resnet(m.at('resnets.1'), frameAttention(m.at('attentions.0'), before), x.dim(1), history);
});

const resnet = layer((m, x: SymbolicTensor, width: number, history: History): SymbolicTensor => {
  let hidden = causalConvolution(m.at('conv1'), channelNorm(m.at('norm1'), x).silu(), width, history);
  hidden = causalConvolution(m.at('conv2'), channelNorm(m.at('norm2'), hidden).silu(), width, history);
  const shortcut = x.dim(1) === width ? x : pointConvolution(m.at('conv_shortcut'), x, width, history);
  return hidden.add(shortcut);
});

/** Self-attention among the pixels of each frame, in one head, added to x. */
const frameAttention = layer((m, x: SymbolicTensor): SymbolicTensor => {
  const [batch, width, time, height, columns] = dims(x, 5);
  const tokens = channelNorm(m.at('norm'), x)
    .transpose([0, 2, 3, 4, 1])
    .reshape([batch * time, height * columns, width]);
  // Linear layers, stored as 1×1 convolutions.
  const project = (name: string, y: SymbolicTensor, out: number) => {
    const weight = m.at(name).weight('weight', [out, width, 1, 1]).reshape([out, width]);
    return gemm(y, weight, m.at(name).weight('bias', [out]));
  };
  const [query, key, value] = project('to_qkv', tokens, 3 * width).chunk(3);
  const attended = project('proj', multiHeadAttention({ query, key, value, numHeads: 1 }), width);
  return x.add(attended.reshape([batch, time, height, columns, width]).transpose([0, 4, 1, 2, 3]));
});

/** Every pixel's channels brought to length √C, times `gamma`. */
export const channelNorm = layer((m, x: SymbolicTensor): SymbolicTensor => {
  const width = x.dim(1);
  // [C, 1, 1, 1], but [C, 1, 1] in attention.
  const gamma = m.weight('gamma').reshape([width, 1, 1, 1]);
  return x.div(x.norm(1).clamp(1e-12, undefined)).mul(gamma.mul(Math.sqrt(width)));
});

/** Halves the image, padded at the right and the bottom only, then time. */
const downsample = layer((m, x: SymbolicTensor, time: boolean, history: History): SymbolicTensor => {
  const halved = conv(x, {
    ...frameKernel(m.at('resample.1'), x.dim(1), x.dim(1)),
    stride: [1, 2, 2],
    padding: [0, 0, 0, 0, 1, 1],
  });
  return time ? halveFrames(m.at('time_conv'), halved, history) : halved;
});

interface Upsample {
  width: number;
  time: boolean;
  history: History;
}

/** Doubles time, then the image. */
const upsample = layer((m, x: SymbolicTensor, { width, time, history }: Upsample): SymbolicTensor => {
  const frames = time ? doubleFrames(m.at('time_conv'), x, history) : x;
  const [batch, channels, count, height, columns] = dims(frames, 5);
  const doubled = upsampleNearest(frames.reshape([batch, channels * count, height, columns]), [2, 2]);
  return conv(doubled.reshape([batch, channels, count, 2 * height, 2 * columns]), {
    ...frameKernel(m.at('resample.1'), channels, width),
    padding: [0, 1, 1],
  });
});
