/**
 * HunyuanVideo's autoencoder (arXiv 2412.03603), Diffusers' `AutoencoderKLHunyuanVideo`: the KL autoencoder of latent diffusion in three
 * dimensions, whose convolutions and attention see no later frame. Works on whole videos; the first frame is a latent of its own.
 *
 * Notation: x [B, C, T, H, W].
 */
import { concat, upsampleNearest } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { convolution } from '../../../nn/conv.ts';
import { linear } from '../../../nn/linear.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { groupNorm } from '../../../nn/norms.ts';
import { dims } from '../../../tensor/tensor.ts';
import type { ConfigReader } from '../../config-reader.ts';
import { defineAutoencoder } from '../definition.ts';
import { gaussian } from '../gaussian.ts';
import { attendToEarlierFrames, causalConvolution } from './causal.ts';

interface HunyuanVideoConfig {
  imageChannels: number;
  latentChannels: number;
  /** Channels of each level, widest image first. */
  widths: readonly number[];
  layers: number;
  groups: number;
  midAttention: boolean;
  spatialScale: number;
  temporalScale: number;
  scalingFactor: number;
}

const epsilon = 1e-6;

export const autoencoderKlHunyuanVideo = defineAutoencoder<HunyuanVideoConfig>({
  className: 'AutoencoderKLHunyuanVideo',
  parseConfig,

  traits: ({ latentChannels, spatialScale, temporalScale, scalingFactor, widths }) => ({
    latentChannels,
    spatialScale,
    temporalScale,
    wholeVideos: true,
    scalingFactor,
    shiftFactor: 0,
    tiles: { size: 256, overlap: 0.25 },
    // Five tensors of the first level's width, for every frame.
    bytesPerPixel: (frames) => 20 * widths[0]! * (1 + (frames - 1) * temporalScale),
  }),

  functions: {
    encode: {
      inputs: ({ imageChannels }) => [
        { name: 'image', kind: 'float', shape: ['batch', imageChannels, 'frames', 'height', 'width'] },
      ],
      build: (m, { image }, config) => {
        const moments = encoder(m.at('encoder'), image!, config);
        return gaussian(
          convolution(m.at('quant_conv'), moments, { outChannels: 2 * config.latentChannels, kernel: 1 }),
        );
      },
    },
    decode: {
      inputs: ({ latentChannels }) => [
        { name: 'latents', kind: 'float', shape: ['batch', latentChannels, 'frames', 'height', 'width'] },
      ],
      build: (m, { latents }, config) => {
        const hidden = convolution(m.at('post_quant_conv'), latents!, {
          outChannels: config.latentChannels,
          kernel: 1,
        });
        return { image: decoder(m.at('decoder'), hidden, config) };
      },
    },
  },
});

function parseConfig(config: ConfigReader): HunyuanVideoConfig {
  const widths = config.integers('block_out_channels', [128, 256, 512, 512]);
  config.requires('act_fn', 'silu');
  config.requires('temporal_compression_ratio', 4);
  config.requires('down_block_types', Array(widths.length).fill('HunyuanVideoDownBlock3D'));
  config.requires('up_block_types', Array(widths.length).fill('HunyuanVideoUpBlock3D'));
  return {
    imageChannels: config.integer('in_channels', 3),
    latentChannels: config.integer('latent_channels', 16),
    widths,
    layers: config.count('layers_per_block', 2),
    groups: config.count('norm_num_groups', 32),
    midAttention: config.boolean('mid_block_add_attention', true),
    spatialScale: config.count('spatial_compression_ratio', 8),
    temporalScale: config.count('temporal_compression_ratio', 4),
    scalingFactor: config.positive('scaling_factor', 0.476986),
  };
}

/** By how much level `index` changes time and space. */
function scaleOf(index: number, { widths, spatialScale, temporalScale }: HunyuanVideoConfig): [number, number] {
  const last = widths.length - 1;
  const time = index >= last - Math.log2(temporalScale) && index !== last;
  return [time ? 2 : 1, index < Math.log2(spatialScale) ? 2 : 1];
}

const encoder = layer((m, image: SymbolicTensor, config: HunyuanVideoConfig): SymbolicTensor => {
  const { widths, layers, groups, latentChannels } = config;
  let x = causalConvolution(m.at('conv_in'), image, { width: widths[0]! });
  for (const [level, width] of widths.entries()) {
    const block = m.at(`down_blocks.${level}`);
    for (let i = 0; i < layers; i++) x = resnet(block.at(`resnets.${i}`), x, width, groups);
    const [time, space] = scaleOf(level, config);
    if (time * space > 1)
      x = causalConvolution(block.at('downsamplers.0.conv'), x, { width, stride: [time, space, space] });
  }
  return head(m, middle(m.at('mid_block'), x, config), 2 * latentChannels, groups);
});

const decoder = layer((m, latents: SymbolicTensor, config: HunyuanVideoConfig): SymbolicTensor => {
  const { widths, layers, groups, imageChannels } = config;
  let x = causalConvolution(m.at('conv_in'), latents, { width: widths.at(-1)! });
  x = middle(m.at('mid_block'), x, config);
  for (const [level, width] of widths.toReversed().entries()) {
    const block = m.at(`up_blocks.${level}`);
    for (let i = 0; i <= layers; i++) x = resnet(block.at(`resnets.${i}`), x, width, groups);
    const [time, space] = scaleOf(level, config);
    if (time * space > 1) x = causalConvolution(block.at('upsamplers.0.conv'), enlarge(x, time, space), { width });
  }
  return head(m, x, imageChannels, groups);
});

function head(m: Module, x: SymbolicTensor, width: number, groups: number): SymbolicTensor {
  return causalConvolution(m.at('conv_out'), norm(m.at('conv_norm_out'), x, groups).silu(), { width });
}

const middle = layer((m, x: SymbolicTensor, { groups, midAttention }: HunyuanVideoConfig): SymbolicTensor => {
  const width = x.dim(1);
  const before = resnet(m.at('resnets.0'), x, width, groups);
  const between = midAttention ? frameCausalAttention(m.at('attentions.0'), before, groups) : before;
  return resnet(m.at('resnets.1'), between, width, groups);
});

const resnet = layer((m, x: SymbolicTensor, width: number, groups: number): SymbolicTensor => {
  let hidden = causalConvolution(m.at('conv1'), norm(m.at('norm1'), x, groups).silu(), { width });
  hidden = causalConvolution(m.at('conv2'), norm(m.at('norm2'), hidden, groups).silu(), { width });
  const shortcut = x.dim(1) === width ? x : causalConvolution(m.at('conv_shortcut'), x, { width, kernel: 1 });
  return shortcut.add(hidden);
});

/** Attention of all pixels in one head to those of their own frame and of earlier ones, added to x. */
const frameCausalAttention = layer((m, x: SymbolicTensor, groups: number): SymbolicTensor => {
  const [batch, width, frames, height, columns] = dims(x, 5);
  const pixels = height * columns;
  const tokens = norm(m.at('group_norm'), x, groups)
    .reshape([batch, width, frames * pixels])
    .transpose([0, 2, 1]);
  const project = (name: string) => linear(m.at(name), tokens, width);
  const [query, key, value] = [project('to_q'), project('to_k'), project('to_v')];
  const attended = attendToEarlierFrames({ query, key, value }, pixels);
  const out = linear(m.at('to_out.0'), attended, width);
  return x.add(out.transpose([0, 2, 1]).reshape(x.shape));
});

/** Group norm over all frames together. */
function norm(m: Module, x: SymbolicTensor, groups: number): SymbolicTensor {
  return groupNorm(m, x, groups, epsilon);
}

/** Nearest pixels and frames; the first frame stays one frame. */
function enlarge(x: SymbolicTensor, time: number, space: number): SymbolicTensor {
  const [batch, width, frames, height, columns] = dims(x, 5);
  const larger = upsampleNearest(x.reshape([batch, width * frames, height, columns]), [space, space]).reshape([
    batch,
    width,
    frames,
    height * space,
    columns * space,
  ]);
  if (time === 1 || frames === 1) return larger;
  const size = [height * space, columns * space];
  const others = larger
    .slice(2, 1)
    .unsqueeze(3)
    .expand([batch, width, frames - 1, time, ...size])
    .reshape([batch, width, (frames - 1) * time, ...size]);
  return concat([larger.slice(2, 0, 1), others], 2);
}
