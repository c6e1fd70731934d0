/**
 * LTX-Video's autoencoder (arXiv 2501.00103), Diffusers' `AutoencoderKLLTXVideo` as of 0.9.0 and 0.9.5: 32×32 pixels of 8 frames are one
 * latent. Pixels of 4×4 squares are channels from the start; levels halve time and space. The encoder sees no later frame, the decoder
 * may. From 0.9.1 on the decoder removes the last noise, and is told how much there is. Works on whole videos.
 *
 * Notation: x [B, C, T, H, W]. Latents are normalised with statistics among the weights.
 */
import { DejaDitError } from '../../../errors/errors.ts';
import { concat, conv, rmsNormalization } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { layerNorm } from '../../../nn/norms.ts';
import { dims } from '../../../tensor/tensor.ts';
import type { ConfigReader } from '../../config-reader.ts';
import { defineAutoencoder } from '../definition.ts';
import { gaussian } from '../gaussian.ts';
import { booleans } from '../levels.ts';
import { fromPatches, toPatches } from '../wan/shuffle.ts';

/** How a level halves: a convolution of stride 2 in time and space, or (0.9.5) pixels moved into channels, in time, space or both. */
const downsamplers = ['conv', 'spatial', 'temporal', 'spatiotemporal'] as const;
type Downsampler = (typeof downsamplers)[number];

interface LtxPyramid {
  /** Channels of each level, from the image to the latents. */
  widths: readonly number[];
  /** Residual blocks of each level, and of the middle. */
  layers: readonly number[];
  /** Whether a level halves, or doubles, time and space. */
  scaling: readonly boolean[];
  causal: boolean;
}

interface LtxEncoder extends LtxPyramid {
  downsamplers: readonly Downsampler[];
  /** Whether levels widen as they halve (0.9.5), and not in a block of their own behind. */
  widensInside: boolean;
}

interface LtxDecoder extends LtxPyramid {
  /** By how much a level narrows as it doubles, and whether its input is added to its output. */
  narrowing: readonly number[];
  residual: readonly boolean[];
  /** Whether it is told how much noise there is. */
  timed: boolean;
}

interface LtxConfig {
  imageChannels: number;
  latentChannels: number;
  patch: number;
  encoder: LtxEncoder;
  decoder: LtxDecoder;
  scales: { space: number; time: number };
  epsilon: number;
  scalingFactor: number;
}

export const autoencoderKlLtx = defineAutoencoder<LtxConfig>({
  className: 'AutoencoderKLLTXVideo',
  parseConfig,

  traits: (config) => {
    const { space, time } = config.scales;
    return {
      latentChannels: config.latentChannels,
      spatialScale: space,
      temporalScale: time,
      timed: config.decoder.timed,
      wholeVideos: true,
      scalingFactor: config.scalingFactor,
      shiftFactor: 0,
      tiles: { size: 512, overlap: 0.125 },
      // Four tensors of the widest level next to the image, for every frame.
      bytesPerPixel: (frames) => (16 * config.decoder.widths[0]! * (1 + (frames - 1) * time)) / config.patch ** 2,
    };
  },

  functions: {
    statistics: {
      inputs: () => [],
      build: (m, _, { latentChannels, scalingFactor }) => ({
        mean: m.weight('latents_mean', [latentChannels]).add(0),
        // Normalised latents are scaled.
        deviation: m.weight('latents_std', [latentChannels]).div(scalingFactor),
      }),
    },
    encode: {
      inputs: ({ imageChannels }) => [
        { name: 'image', kind: 'float', shape: ['batch', imageChannels, 'frames', 'height', 'width'] },
      ],
      build: (m, { image }, config) => {
        const moments = encoder(m.at('encoder'), toPatches(image!, config.patch), config);
        // One variance for all channels.
        const variance = moments.slice(1, -1);
        return gaussian(concat([moments, ...Array<SymbolicTensor>(config.latentChannels - 1).fill(variance)], 1));
      },
    },
    decode: {
      inputs: ({ latentChannels, decoder }) => [
        { name: 'latents', kind: 'float', shape: ['batch', latentChannels, 'frames', 'height', 'width'] },
        ...(decoder.timed ? [{ name: 'timestep', kind: 'float', shape: ['batch'] } as const] : []),
      ],
      build: (m, { latents, timestep }, config) => ({
        image: fromPatches(decoder(m.at('decoder'), { latents: latents!, timestep }, config), config.patch),
      }),
    },
  },
});

function parseConfig(config: ConfigReader): LtxConfig {
  config.requires('patch_size_t', 1);
  const given = config.integers('block_out_channels', [128, 256, 512, 512]);
  const widensInside = Array.isArray(config.json.down_block_types) && config.json.down_block_types.at(-1) === newBlock;
  const levels = widensInside ? given.length - 1 : given.length;
  config.requires('down_block_types', Array(levels).fill(widensInside ? newBlock : 'LTXVideoDownBlock3D'));
  const types = levelChoices(config, levels);
  if (!widensInside) config.requires('downsample_type', Array(levels).fill('conv'));
  const decoderWidths = config.integers('decoder_block_out_channels', [128, 256, 512, 512]);
  const decoderLevels = decoderWidths.length;
  // Of 0.9.1 alone: noise that nobody could draw again.
  config.requires('decoder_inject_noise', Array(decoderLevels + 1).fill(false));
  const usual = [true, true, true, false];
  const patch = config.count('patch_size', 4);
  const scaling = booleans(config, 'spatio_temporal_scaling', usual);
  const halvings = scaling.filter(Boolean).length;
  const optional = (name: string) => config.nullable(name, (field) => config.count(field));
  return {
    imageChannels: config.integer('in_channels', 3),
    latentChannels: config.integer('latent_channels', 128),
    patch,
    scales: {
      space: optional('spatial_compression_ratio') ?? patch * 2 ** halvings,
      time: optional('temporal_compression_ratio') ?? 2 ** halvings,
    },
    encoder: {
      widths: given,
      layers: config.counts('layers_per_block', [4, 3, 3, 3, 4]),
      scaling,
      causal: config.boolean('encoder_causal', true),
      downsamplers: types,
      widensInside,
    },
    decoder: {
      widths: decoderWidths,
      layers: config.counts('decoder_layers_per_block', [4, 3, 3, 3, 4]),
      scaling: booleans(config, 'decoder_spatio_temporal_scaling', usual),
      causal: config.boolean('decoder_causal', false),
      narrowing: config.counts('upsample_factor', Array<number>(decoderLevels).fill(1)),
      residual: booleans(config, 'upsample_residual', Array<boolean>(decoderLevels).fill(false)),
      timed: config.boolean('timestep_conditioning', false),
    },
    epsilon: config.positive('resnet_norm_eps', 1e-6),
    scalingFactor: config.positive('scaling_factor', 1),
  };
}

const newBlock = 'LTXVideo095DownBlock3D';

function levelChoices({ json, origin }: ConfigReader, levels: number): Downsampler[] {
  const given = json.downsample_type ?? Array<string>(levels).fill('conv');
  const isDownsampler = (value: unknown): value is Downsampler => downsamplers.some((known) => known === value);
  if (Array.isArray(given) && given.length === levels && given.every(isDownsampler)) return given;
  throw new DejaDitError(
    'INVALID_CONFIG',
    `'downsample_type' is ${JSON.stringify(given)}, expected ${levels} of ${downsamplers.join(', ')}`,
    { path: origin },
  );
}

interface Block {
  causal: boolean;
  epsilon: number;
  /** What all blocks of a level are told of the noise [B, 4, C, 1, 1, 1]; absent from those that are not. */
  time?: SymbolicTensor | undefined;
}

const encoder = layer((m, image: SymbolicTensor, { encoder: pyramid, latentChannels, epsilon }: LtxConfig) => {
  const { widths, layers, scaling, causal, widensInside } = pyramid;
  const block = { causal, epsilon };
  let x = timeConvolution(m.at('conv_in'), image, { width: widths[0]!, causal });
  for (const [level, type] of pyramid.downsamplers.entries()) {
    const down = m.at(`down_blocks.${level}`);
    const next = widths[level + 1] ?? x.dim(1);
    x = resnets(down, x, layers[level]!, block);
    if (scaling[level])
      x =
        type === 'conv'
          ? timeConvolution(down.at('downsamplers.0'), x, { width: x.dim(1), causal, stride: [2, 2, 2] })
          : downsample(down.at('downsamplers.0'), x, { width: next, causal, stride: strides[type] });
    if (!widensInside && next !== x.dim(1)) x = resnet(down.at('conv_out'), x, next, block);
  }
  x = resnets(m.at('mid_block'), x, layers.at(-1)!, block);
  return timeConvolution(m.at('conv_out'), channelNorm(x).silu(), { width: latentChannels + 1, causal });
});

interface Noisy {
  latents: SymbolicTensor;
  /** How much noise is left in them [B], up to 1. */
  timestep: SymbolicTensor | undefined;
}

const decoder = layer((m, { latents, timestep }: Noisy, config: LtxConfig): SymbolicTensor => {
  const { imageChannels, patch, epsilon } = config;
  const { causal, ...pyramid } = config.decoder;
  const [widths, layers, scaling, narrowing, residual] = [
    pyramid.widths.toReversed(),
    pyramid.layers.toReversed(),
    pyramid.scaling.toReversed(),
    pyramid.narrowing.toReversed(),
    pyramid.residual.toReversed(),
  ];
  const time = timestep?.mul(m.weight('timestep_scale_multiplier', []));
  const blockOf = (level: Module, width: number): Block => ({ causal, epsilon, time: told(level, time, [4, width]) });
  let x = timeConvolution(m.at('conv_in'), latents, { width: widths[0]!, causal });
  x = resnets(m.at('mid_block'), x, layers[0]!, blockOf(m.at('mid_block'), x.dim(1)));
  for (const [level, wide] of widths.entries()) {
    const up = m.at(`up_blocks.${level}`);
    const factor = narrowing[level]!;
    const width = wide / factor;
    if (x.dim(1) / factor !== width) x = resnet(up.at('conv_in'), x, width, { causal, epsilon });
    if (scaling[level]) x = upsample(up.at('upsamplers.0'), x, { causal, factor, residual: residual[level]! });
    x = resnets(up, x, layers[level + 1]!, blockOf(up, width));
  }
  const [shift, scale] = modulationOf(m, told(m, time, [2, x.dim(1)]), x.dim(1));
  const out = modulated(channelNorm(x), { shift, scale }).silu();
  return timeConvolution(m.at('conv_out'), out, { width: imageChannels * patch ** 2, causal });
});

/** What a level is told of the noise: [B, rows, width, 1, 1, 1]. */
function told(
  m: Module,
  time: SymbolicTensor | undefined,
  [rows, width]: [number, number],
): SymbolicTensor | undefined {
  if (!time) return undefined;
  const embedder = m.at('time_embedder.timestep_embedder');
  const embedded = timestepEmbedding(embedder, sinusoidalEmbedding(time, { dim: 256 }), rows * width);
  return embedded.reshape([embedded.dim(0), rows, width, 1, 1, 1]);
}

/** The shifts and scales of a module, one after the other; none where it is told nothing. */
function modulationOf(m: Module, time: SymbolicTensor | undefined, width: number): (SymbolicTensor | undefined)[] {
  if (!time) return [];
  const [batch, rows] = [time.dim(0), time.dim(1)];
  const all = time.add(m.weight('scale_shift_table', [rows, width]).reshape([1, rows, width, 1, 1, 1]));
  return Array.from({ length: rows }, (_, row) => all.slice(1, row, row + 1).reshape([batch, width, 1, 1, 1]));
}

function modulated(
  x: SymbolicTensor,
  { shift, scale }: { shift: SymbolicTensor | undefined; scale: SymbolicTensor | undefined },
): SymbolicTensor {
  return shift && scale ? x.mul(scale.add(1)).add(shift) : x;
}

function resnets(m: Module, x: SymbolicTensor, count: number, block: Block): SymbolicTensor {
  let out = x;
  for (let i = 0; i < count; i++) out = resnet(m.at(`resnets.${i}`), out, x.dim(1), block);
  return out;
}

const resnet = layer((m, x: SymbolicTensor, width: number, { causal, epsilon, time }: Block): SymbolicTensor => {
  const [shift1, scale1, shift2, scale2] = modulationOf(m, time, x.dim(1));
  const first = modulated(channelNorm(x), { shift: shift1, scale: scale1 }).silu();
  let hidden = timeConvolution(m.at('conv1'), first, { width, causal });
  const second = modulated(channelNorm(hidden), { shift: shift2, scale: scale2 }).silu();
  hidden = timeConvolution(m.at('conv2'), second, { width, causal });
  if (x.dim(1) === width) return hidden.add(x);
  const normed = layerNorm(m.at('norm3'), x.transpose([0, 2, 3, 4, 1]), epsilon).transpose([0, 4, 1, 2, 3]);
  return hidden.add(timeConvolution(m.at('conv_shortcut'), normed, { width, causal, kernel: 1 }));
});

/** Every pixel's channels brought to mean square 1. */
function channelNorm(x: SymbolicTensor): SymbolicTensor {
  return rmsNormalization(x.transpose([0, 2, 3, 4, 1]), { epsilon: 1e-8 }).transpose([0, 4, 1, 2, 3]);
}

interface Upsample {
  causal: boolean;
  /** By which channels become fewer. */
  factor: number;
  /** Whether neighbours made of channels are added, repeated to the width of the result. */
  residual: boolean;
}

/** Doubles time and space; what comes before the first frame is dropped. */
const upsample = layer((m, x: SymbolicTensor, { causal, factor, residual }: Upsample): SymbolicTensor => {
  const width = (8 * x.dim(1)) / factor;
  const out = doubled(timeConvolution(m.at('conv'), x, { width, causal }));
  return residual ? out.add(concat(Array<SymbolicTensor>(8 / factor).fill(doubled(x)), 1)) : out;
});

/** Channels in eights become neighbours in time and space. */
function doubled(x: SymbolicTensor): SymbolicTensor {
  const [batch, channels, time, height, width] = dims(x, 5);
  return x
    .reshape([batch, channels / 8, 2, 2, 2, time, height, width])
    .transpose([0, 1, 5, 2, 6, 3, 7, 4])
    .reshape([batch, channels / 8, 2 * time, 2 * height, 2 * width])
    .slice(2, 1);
}

const strides = { spatial: [1, 2, 2], temporal: [2, 1, 1], spatiotemporal: [2, 2, 2] } as const;

interface Downsample {
  width: number;
  causal: boolean;
  stride: readonly [time: number, height: number, width: number];
}

/** Neighbours become channels, of a convolution and, averaged in groups, of what it is added to. */
const downsample = layer((m, x: SymbolicTensor, { width, causal, stride }: Downsample): SymbolicTensor => {
  const merged = stride[0] * stride[1] * stride[2];
  const video = stride[0] === 1 ? x : concat([x.slice(2, 0, stride[0] - 1), x], 2);
  const halved = (value: SymbolicTensor) => {
    const [batch, channels, frames, rows, columns] = dims(value, 5);
    const [time, down, across] = stride;
    return value
      .reshape([batch, channels, frames / time, time, rows / down, down, columns / across, across])
      .transpose([0, 1, 3, 5, 7, 2, 4, 6])
      .reshape([batch, channels * merged, frames / time, rows / down, columns / across]);
  };
  const own = halved(video);
  const [batch, , frames, rows, columns] = dims(own, 5);
  const averaged = own
    .reshape([batch, width, -1, frames, rows, columns])
    .mean(2)
    .reshape([batch, width, frames, rows, columns]);
  return halved(timeConvolution(m.at('conv'), video, { width: width / merged, causal })).add(averaged);
});

interface TimeConvolution {
  width: number;
  /** Whether no later frame is seen. */
  causal: boolean;
  kernel?: number;
  stride?: readonly number[];
}

/** Convolution with a cubic kernel; beyond its ends a video stands still, beyond their edges pictures are black. */
const timeConvolution = layer(
  (m, x: SymbolicTensor, { width, causal, kernel = 3, stride }: TimeConvolution): SymbolicTensor => {
    const [before, after] = causal ? [kernel - 1, 0] : [(kernel - 1) / 2, (kernel - 1) / 2];
    const first = Array<SymbolicTensor>(before).fill(x.slice(2, 0, 1));
    const last = Array<SymbolicTensor>(after).fill(x.slice(2, -1));
    const edge = (kernel - 1) / 2;
    const at = m.at('conv');
    return conv(concat([...first, x, ...last], 2), {
      weight: at.weight('weight', [width, x.dim(1), kernel, kernel, kernel]),
      bias: at.weight('bias', [width]),
      padding: [0, edge, edge],
      ...(stride ? { stride } : {}),
    });
  },
);
