/**
 * The autoencoder of HunyuanVideo 1.5 (Tencent, 2025, arXiv 2511.18870), Diffusers' `AutoencoderKLHunyuanVideo15`: 16×16 pixels of 4 frames
 * are one latent, and the first frame is a latent of its own. Convolutions and attention see no later frame; where levels meet, pixels move into
 * channels and back, with shortcuts without weights as in the deep compression autoencoder (arXiv 2410.10733). Works on whole videos.
 *
 * Notation: x [B, C, T, H, W].
 */
import { DejaDitError } from '../../../errors/errors.ts';
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { convolution } from '../../../nn/conv.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { dims } from '../../../tensor/tensor.ts';
import type { ConfigReader } from '../../config-reader.ts';
import { averageGroups, repeatChannels } from '../channels.ts';
import { defineAutoencoder } from '../definition.ts';
import { gaussian } from '../gaussian.ts';
import { channelNorm } from '../wan/wan.ts';
import { attendToEarlierFrames, causalConvolution } from './causal.ts';

interface HunyuanVideo15Config {
  inChannels: number;
  outChannels: number;
  latentChannels: number;
  /** Channels of each level, the largest pictures first. */
  widths: readonly number[];
  layers: number;
  /** How often space is halved, and how often time. */
  halvings: { space: number; time: number };
  /** Whether the width changes where the size does, and not behind it. */
  matchDown: boolean;
  matchUp: boolean;
  scalingFactor: number;
}

export const autoencoderKlHunyuanVideo15 = defineAutoencoder<HunyuanVideo15Config>({
  className: 'AutoencoderKLHunyuanVideo15',
  parseConfig,

  traits: ({ latentChannels, halvings, scalingFactor, widths }) => ({
    latentChannels,
    spatialScale: 2 ** halvings.space,
    temporalScale: 2 ** halvings.time,
    wholeVideos: true,
    scalingFactor,
    shiftFactor: 0,
    tiles: { size: 256, overlap: 0.25 },
    // Five tensors of the first level's width, for every frame.
    bytesPerPixel: (frames) => 20 * widths[0]! * (1 + (frames - 1) * 2 ** halvings.time),
  }),

  functions: {
    encode: {
      inputs: ({ inChannels }) => [
        { name: 'image', kind: 'float', shape: ['batch', inChannels, 'frames', 'height', 'width'] },
      ],
      build: (m, { image }, config) => gaussian(encoder(m.at('encoder'), image!, config)),
    },
    decode: {
      inputs: ({ latentChannels }) => [
        { name: 'latents', kind: 'float', shape: ['batch', latentChannels, 'frames', 'height', 'width'] },
      ],
      build: (m, { latents }, config) => ({ image: decoder(m.at('decoder'), latents!, config) }),
    },
  },
});

function parseConfig(config: ConfigReader): HunyuanVideo15Config {
  const widths = config.counts('block_out_channels', [128, 256, 512, 1024, 1024]);
  const latentChannels = config.count('latent_channels', 32);
  const halvings = {
    space: halvingsOf(config, 'spatial_compression_ratio', { fallback: 16, most: widths.length - 1 }),
    time: halvingsOf(config, 'temporal_compression_ratio', { fallback: 4, most: widths.length - 1 }),
  };
  const invalid = (message: string) => new DejaDitError('INVALID_CONFIG', message, { path: config.origin });
  if (halvings.time > halvings.space)
    throw invalid("'temporal_compression_ratio' is larger than 'spatial_compression_ratio'");
  if (widths.at(-1)! % (2 * latentChannels) !== 0)
    throw invalid(`'block_out_channels' end with ${widths.at(-1)}, no multiple of ${2 * latentChannels}`);
  return {
    inChannels: config.count('in_channels', 3),
    outChannels: config.count('out_channels', 3),
    latentChannels,
    widths,
    layers: config.count('layers_per_block', 2),
    halvings,
    matchDown: config.boolean('downsample_match_channel', true),
    matchUp: config.boolean('upsample_match_channel', true),
    scalingFactor: config.positive('scaling_factor', 1.03682),
  };
}

/** Of a power of two. */
function halvingsOf(config: ConfigReader, name: string, { fallback, most }: { fallback: number; most: number }) {
  const halvings = Math.log2(config.count(name, fallback));
  if (Number.isInteger(halvings) && halvings <= most) return halvings;
  throw new DejaDitError('INVALID_CONFIG', `'${name}' is ${2 ** halvings}, expected a power of 2 up to ${2 ** most}`, {
    path: config.origin,
  });
}

const encoder = layer((m, image: SymbolicTensor, config: HunyuanVideo15Config): SymbolicTensor => {
  const { widths, layers, halvings, latentChannels, matchDown } = config;
  let x = causalConvolution(m.at('conv_in'), image, { width: widths[0]! });
  for (const [level, width] of widths.entries()) {
    const block = m.at(`down_blocks.${level}`);
    x = resnets(block, x, { width, count: layers });
    const time = level >= halvings.space - halvings.time;
    if (level < halvings.space)
      x = halve(block.at('downsamplers.0'), x, { width: matchDown ? widths[level + 1]! : width, time });
  }
  x = middle(m.at('mid_block'), x);
  return head(m, x, 2 * latentChannels).add(averageGroups(x, 2 * latentChannels));
});

const decoder = layer((m, latents: SymbolicTensor, config: HunyuanVideo15Config): SymbolicTensor => {
  const { layers, halvings, outChannels, matchUp } = config;
  const widths = config.widths.toReversed();
  const first = causalConvolution(m.at('conv_in'), latents, { width: widths[0]! });
  let x = middle(m.at('mid_block'), first.add(repeatChannels(latents, widths[0]!)));
  for (const [level, width] of widths.entries()) {
    const block = m.at(`up_blocks.${level}`);
    x = resnets(block, x, { width, count: layers + 1 });
    const time = level < halvings.time;
    if (level < halvings.space)
      x = double(block.at('upsamplers.0'), x, { width: matchUp ? widths[level + 1]! : width, time });
  }
  return head(m, x, outChannels);
});

function head(m: Module, x: SymbolicTensor, width: number): SymbolicTensor {
  return causalConvolution(m.at('conv_out'), channelNorm(m.at('norm_out'), x).silu(), { width });
}

const middle = layer((m, x: SymbolicTensor): SymbolicTensor => {
  const before = resnet(m.at('resnets.0'), x, x.dim(1));
  return resnet(m.at('resnets.1'), frameCausalAttention(m.at('attentions.0'), before), x.dim(1));
});

function resnets(m: Module, x: SymbolicTensor, { width, count }: { width: number; count: number }): SymbolicTensor {
  let out = x;
  for (let i = 0; i < count; i++) out = resnet(m.at(`resnets.${i}`), out, width);
  return out;
}

const resnet = layer((m, x: SymbolicTensor, width: number): SymbolicTensor => {
  let hidden = causalConvolution(m.at('conv1'), channelNorm(m.at('norm1'), x).silu(), { width });
  hidden = causalConvolution(m.at('conv2'), channelNorm(m.at('norm2'), hidden).silu(), { width });
  const shortcut = x.dim(1) === width ? x : convolution(m.at('conv_shortcut'), x, { outChannels: width, kernel: 1 });
  return hidden.add(shortcut);
});

/** Attention of all pixels in one head to those of their own frame and of earlier ones, added to x. */
const frameCausalAttention = layer((m, x: SymbolicTensor): SymbolicTensor => {
  const [batch, width, frames, height, columns] = dims(x, 5);
  const normed = channelNorm(m.at('norm'), x);
  const project = (name: string, y: SymbolicTensor) => convolution(m.at(name), y, { outChannels: width, kernel: 1 });
  const tokens = (name: string) =>
    project(name, normed)
      .reshape([batch, width, frames * height * columns])
      .transpose([0, 2, 1]);
  const qkv = { query: tokens('to_q'), key: tokens('to_k'), value: tokens('to_v') };
  const attended = attendToEarlierFrames(qkv, height * columns)
    .transpose([0, 2, 1])
    .reshape(x.shape);
  return x.add(project('proj_out', attended));
});

interface Resize {
  width: number;
  /** Whether time is resized along with space; the first frame stays one frame. */
  time: boolean;
}

const halve = layer((m, x: SymbolicTensor, { width, time }: Resize): SymbolicTensor => {
  const hidden = causalConvolution(m.at('conv'), x, { width: width / (time ? 8 : 4) });
  const shrink = (y: SymbolicTensor) =>
    perFrameAndRest(y, time, (part, ratio) => averageGroups(toChannels(part, ratio), width));
  const moved = perFrameAndRest(hidden, time, (part, ratio) => {
    const channels = toChannels(part, ratio);
    return channels.dim(1) === width ? channels : concat([channels, channels], 1);
  });
  return moved.add(shrink(x));
});

const double = layer((m, x: SymbolicTensor, { width, time }: Resize): SymbolicTensor => {
  const hidden = causalConvolution(m.at('conv'), x, { width: width * (time ? 8 : 4) });
  // Of the first frame, half the channels are left out.
  const moved = perFrameAndRest(hidden, time, (part, ratio) => toPixels(part, ratio).slice(1, 0, width));
  const shortcut = time
    ? perFrameAndRest(x, time, (part, ratio) => repeatChannels(toPixels(part, ratio), width))
    : toPixels(repeatChannels(x, 4 * width), 1);
  return moved.add(shortcut);
});

/** Works on the first frame in space alone and on the others in time too; without `time`, on all of them in space. */
function perFrameAndRest(
  x: SymbolicTensor,
  time: boolean,
  resize: (frames: SymbolicTensor, ratio: 1 | 2) => SymbolicTensor,
): SymbolicTensor {
  if (!time) return resize(x, 1);
  const first = resize(x.slice(2, 0, 1), 1);
  return x.dim(2) === 1 ? first : concat([first, resize(x.slice(2, 1), 2)], 2);
}

/** `ratio` frames of 2×2 pixels as channels, place by place: [B, C, T, H, W] → [B, ratio·4·C, T / ratio, H / 2, W / 2]. */
function toChannels(x: SymbolicTensor, ratio: 1 | 2): SymbolicTensor {
  const [batch, channels, frames, height, width] = dims(x, 5);
  const small = [frames / ratio, height / 2, width / 2] as const;
  return x
    .reshape([batch, channels, small[0], ratio, small[1], 2, small[2], 2])
    .transpose([0, 3, 5, 7, 1, 2, 4, 6])
    .reshape([batch, ratio * 4 * channels, ...small]);
}

/** The way back. */
function toPixels(x: SymbolicTensor, ratio: 1 | 2): SymbolicTensor {
  const [batch, channels, frames, height, width] = dims(x, 5);
  const left = channels / (4 * ratio);
  return x
    .reshape([batch, ratio, 2, 2, left, frames, height, width])
    .transpose([0, 4, 5, 1, 6, 2, 7, 3])
    .reshape([batch, left, frames * ratio, 2 * height, 2 * width]);
}
