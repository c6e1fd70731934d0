/**
 * CogVideoX's autoencoder (arXiv 2408.06072), Diffusers' `AutoencoderKLCogVideoX`: convolutions that see no later frame, and in the
 * decoder norms that are told the latents ("spatial norm", arXiv 2209.09002).
 *
 * Videos are worked on in chunks of two latent frames, a first one of three where their number is odd: group norms are over a chunk, so
 * the model was trained to be cut so. Convolutions remember the last frames of the chunk before. In a chunk of several frames, the
 * first is a latent of its own if their number is odd; two latents alone are therefore eight frames.
 *
 * Notation: x [B, C, T, H, W].
 */
import { concat, conv, upsampleNearest } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { convolution } from '../../../nn/conv.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { groupNorm } from '../../../nn/norms.ts';
import { dims } from '../../../tensor/tensor.ts';
import type { ConfigReader } from '../../config-reader.ts';
import { defineAutoencoder } from '../definition.ts';
import { gaussian } from '../gaussian.ts';

interface CogVideoXConfig {
  imageChannels: number;
  outChannels: number;
  latentChannels: number;
  /** Channels of each level, the largest picture first. */
  widths: readonly number[];
  layers: number;
  groups: number;
  epsilon: number;
  temporalScale: number;
  scalingFactor: number;
  /** Whether models of version 1.5 were trained with pictures divided by it. */
  invertsScale: boolean;
}

/** The last frames that every convolution was given, by module path. */
type History = Map<string, SymbolicTensor>;

interface Context {
  config: CogVideoXConfig;
  history: History;
}

/** Of norms that are told the latents. */
const spatialEpsilon = 1e-6;
/** Latent frames of a chunk, but for the first. */
const chunkLatents = 2;

export const autoencoderKlCogVideoX = defineAutoencoder<CogVideoXConfig>({
  className: 'AutoencoderKLCogVideoX',
  parseConfig,

  traits: ({ latentChannels, widths, temporalScale, scalingFactor, invertsScale }) => ({
    latentChannels,
    spatialScale: 2 ** (widths.length - 1),
    temporalScale,
    wholeVideos: true,
    decodedFrames: (latents) =>
      chunksOf(latents, chunkLatents)
        .map((frames) =>
          frames === 1 ? 1 : frames % 2 === 1 ? 1 + (frames - 1) * temporalScale : frames * temporalScale,
        )
        .reduce((sum, frames) => sum + frames, 0),
    scalingFactor,
    ...(invertsScale ? { pictureScalingFactor: 1 / scalingFactor } : {}),
    shiftFactor: 0,
    tiles: { size: 240, overlap: 0.2 },
    // Five tensors of the first level's width, for every frame of a chunk; and the pictures.
    bytesPerPixel: (frames) => 20 * widths[0]! * temporalScale * Math.min(frames, 3) + 12 * frames * temporalScale,
  }),

  functions: {
    encode: {
      inputs: ({ imageChannels }) => [
        { name: 'image', kind: 'float', shape: ['batch', imageChannels, 'frames', 'height', 'width'] },
      ],
      build: (m, { image }, config) =>
        gaussian(
          inChunks(image!, 4 * chunkLatents, (chunk, history) => encoder(m.at('encoder'), chunk, { config, history })),
        ),
    },
    decode: {
      inputs: ({ latentChannels }) => [
        { name: 'latents', kind: 'float', shape: ['batch', latentChannels, 'frames', 'height', 'width'] },
      ],
      build: (m, { latents }, config) => ({
        image: inChunks(latents!, chunkLatents, (chunk, history) =>
          decoder(m.at('decoder'), chunk, { config, history }),
        ),
      }),
    },
  },
});

function parseConfig(config: ConfigReader): CogVideoXConfig {
  const widths = config.counts('block_out_channels', [128, 256, 256, 512]);
  config.requires('act_fn', 'silu');
  config.requires('down_block_types', Array(widths.length).fill('CogVideoXDownBlock3D'));
  config.requires('up_block_types', Array(widths.length).fill('CogVideoXUpBlock3D'));
  config.requires('use_quant_conv', false);
  config.requires('use_post_quant_conv', false);
  config.requires('latents_mean', null);
  config.requires('latents_std', null);
  config.requires('shift_factor', null);
  return {
    imageChannels: config.count('in_channels', 3),
    outChannels: config.count('out_channels', 3),
    latentChannels: config.count('latent_channels', 16),
    widths,
    layers: config.count('layers_per_block', 3),
    groups: config.count('norm_num_groups', 32),
    epsilon: config.positive('norm_eps', 1e-6),
    temporalScale: config.count('temporal_compression_ratio', 4),
    scalingFactor: config.positive('scaling_factor', 1.15258426),
    invertsScale: config.boolean('invert_scale_latents', false),
  };
}

/** Frames of each chunk: `size`, and what is left over with the first. */
function chunksOf(frames: number, size: number): number[] {
  const count = Math.max(1, Math.floor(frames / size));
  return Array.from({ length: count }, (_, i) => (i === 0 ? frames - (count - 1) * size : size));
}

function inChunks(
  video: SymbolicTensor,
  size: number,
  build: (chunk: SymbolicTensor, history: History) => SymbolicTensor,
): SymbolicTensor {
  const history: History = new Map();
  const chunks = video.split(2, chunksOf(video.dim(2), size));
  return concat(
    chunks.map((chunk) => build(chunk, history)),
    2,
  );
}

const encoder = layer((m, image: SymbolicTensor, context: Context): SymbolicTensor => {
  const { widths, layers, groups, latentChannels, temporalScale } = context.config;
  let x = causalConvolution(m.at('conv_in'), image, widths[0]!, context);
  for (const [level, width] of widths.entries()) {
    const block = m.at(`down_blocks.${level}`);
    for (let i = 0; i < layers; i++) x = resnet(block.at(`resnets.${i}`), x, { width, ...context });
    if (level === widths.length - 1) continue;
    x = halve(block.at('downsamplers.0.conv'), level < Math.log2(temporalScale) ? averageFrames(x) : x);
  }
  for (let i = 0; i < 2; i++) x = resnet(m.at(`mid_block.resnets.${i}`), x, { width: x.dim(1), ...context });
  const normed = groupNorm(m.at('norm_out'), x, groups, spatialEpsilon).silu();
  return causalConvolution(m.at('conv_out'), normed, 2 * latentChannels, context);
});

const decoder = layer((m, latents: SymbolicTensor, context: Context): SymbolicTensor => {
  const { widths: outwards, layers, outChannels, temporalScale } = context.config;
  const widths = outwards.toReversed();
  const told = { latents, ...context };
  let x = causalConvolution(m.at('conv_in'), latents, widths[0]!, context);
  for (let i = 0; i < 2; i++) x = resnet(m.at(`mid_block.resnets.${i}`), x, { width: x.dim(1), ...told });
  for (const [level, width] of widths.entries()) {
    const block = m.at(`up_blocks.${level}`);
    for (let i = 0; i <= layers; i++) x = resnet(block.at(`resnets.${i}`), x, { width, ...told });
    if (level === widths.length - 1) continue;
    const larger = enlarge(x, level < Math.log2(temporalScale) ? 2 : 1, 2);
    x = perFrame(block.at('upsamplers.0.conv'), larger, { padding: [0, 1, 1] });
  }
  return causalConvolution(m.at('conv_out'), spatialNorm(m.at('norm_out'), x, told).silu(), outChannels, context);
});

interface Resnet extends Context {
  width: number;
  /** What the norms of the decoder are told. */
  latents?: SymbolicTensor;
}

const resnet = layer((m, x: SymbolicTensor, { width, latents, ...context }: Resnet): SymbolicTensor => {
  const { groups, epsilon } = context.config;
  const norm = (name: string, y: SymbolicTensor) =>
    latents ? spatialNorm(m.at(name), y, { latents, ...context }) : groupNorm(m.at(name), y, groups, epsilon);
  let hidden = causalConvolution(m.at('conv1'), norm('norm1', x).silu(), width, context);
  hidden = causalConvolution(m.at('conv2'), norm('norm2', hidden).silu(), width, context);
  const shortcut = x.dim(1) === width ? x : convolution(m.at('conv_shortcut'), x, { outChannels: width, kernel: 1 });
  return hidden.add(shortcut);
});

/** A group norm whose scale and shift, at every pixel, are what two projections make of the latents there. */
const spatialNorm = layer(
  (
    m,
    x: SymbolicTensor,
    { latents, config }: Pick<Context, 'config'> & { latents: SymbolicTensor },
  ): SymbolicTensor => {
    const [, width, frames, height] = dims(x, 5);
    const [latentFrames, space] = [latents.dim(2), height / latents.dim(3)];
    const time = latentFrames === 1 ? 1 : isOdd(x) ? (frames - 1) / (latentFrames - 1) : frames / latentFrames;
    // The projections are of single latents, so that they may come before the enlarging.
    const projected = (name: string) =>
      enlarge(convolution(m.at(`${name}.conv`), latents, { outChannels: width, kernel: 1 }), time, space);
    const normed = groupNorm(m.at('norm_layer'), x, config.groups, spatialEpsilon);
    return normed.mul(projected('conv_y')).add(projected('conv_b'));
  },
);

const isOdd = (x: SymbolicTensor) => x.dim(2) > 1 && x.dim(2) % 2 === 1;

/** Pixels and frames repeated; of an odd number of frames, and of one, the first stays one. */
function enlarge(x: SymbolicTensor, time: number, space: number): SymbolicTensor {
  const [batch, width, frames, height, columns] = dims(x, 5);
  const size = [height * space, columns * space];
  const pixels = upsampleNearest(x.reshape([batch, width * frames, height, columns]), [space, space]);
  const larger = pixels.reshape([batch, width, frames, ...size]);
  if (time === 1 || frames === 1) return larger;
  const repeated = (y: SymbolicTensor) =>
    y
      .unsqueeze(3)
      .expand([batch, width, y.dim(2), time, ...size])
      .reshape([batch, width, y.dim(2) * time, ...size]);
  if (!isOdd(x)) return repeated(larger);
  return concat([larger.slice(2, 0, 1), repeated(larger.slice(2, 1))], 2);
}

/** Means of pairs of frames; of an odd number the first stays as it is. */
function averageFrames(x: SymbolicTensor): SymbolicTensor {
  const [batch, width, frames, height, columns] = dims(x, 5);
  const pairs = (y: SymbolicTensor) => y.reshape([batch, width, y.dim(2) / 2, 2, height, columns]).mean(3, false);
  if (frames === 1) return x;
  return frames % 2 === 0 ? pairs(x) : concat([x.slice(2, 0, 1), pairs(x.slice(2, 1))], 2);
}

/** Halves the pictures; the missing neighbours are padded at the right and the bottom only. */
function halve(m: Module, x: SymbolicTensor): SymbolicTensor {
  return perFrame(m, x, { padding: [0, 0, 0, 0, 1, 1], stride: [1, 2, 2] });
}

/** A convolution of pictures with a kernel of 3, for every frame. */
const perFrame = layer(
  (m, x: SymbolicTensor, options: { padding: readonly number[]; stride?: readonly number[] }): SymbolicTensor => {
    const width = x.dim(1);
    const weight = m.weight('weight', [width, width, 3, 3]).unsqueeze(2);
    return conv(x, { weight, bias: m.weight('bias', [width]), ...options });
  },
);

/** Convolution with a cubic kernel of 3: two frames of the chunk before, or the first frame twice, and zeros around the pictures. */
const causalConvolution = layer((m, x: SymbolicTensor, outChannels: number, { history }: Context): SymbolicTensor => {
  const first = x.slice(2, 0, 1);
  const seen = concat([...(history.has(m.path) ? [history.get(m.path)!] : [first, first]), x], 2);
  history.set(m.path, seen.slice(2, -2));
  const at = m.at('conv');
  return conv(seen, {
    weight: at.weight('weight', [outChannels, x.dim(1), 3, 3, 3]),
    bias: at.weight('bias', [outChannels]),
    padding: [0, 1, 1],
  });
});
