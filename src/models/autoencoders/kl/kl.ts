/**
 * The KL autoencoder of latent diffusion (arXiv 2112.10752), Diffusers' `AutoencoderKL` and `AutoencoderKLFlux2`: the VAE of
 * Stable Diffusion, FLUX and FLUX.2.
 *
 * A convolutional pyramid: every level has a few residual blocks at one width and halves (encoder) or doubles (decoder) the
 * image's edge, all but the last; in the middle, residual, attention, residual. The encoder yields mean and log variance.
 * FLUX leaves out the 1×1 "quant" convolutions on both sides of the latents. FLUX.2 normalises latents with running statistics
 * (`bn`) of patches of 2×2 in place of a scaling factor.
 */

import { multiHeadAttention, upsampleNearest } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { convolution } from '../../../nn/conv.ts';
import { linear } from '../../../nn/linear.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { groupNorm } from '../../../nn/norms.ts';
import { dims } from '../../../tensor/tensor.ts';
import type { ConfigReader } from '../../config-reader.ts';
import type { IgnoredWeights } from '../../definition.ts';
import type { FunctionDefinition } from '../../graph-model.ts';
import { type AutoencoderFamily, defineAutoencoder } from '../definition.ts';
import { gaussian } from '../gaussian.ts';
import { klNames } from './kl-names.ts';

interface KlConfig {
  inChannels: number;
  outChannels: number;
  latentChannels: number;
  /** Channels of each level, widest image first. */
  widths: readonly number[];
  decoderWidths: readonly number[];
  layersPerBlock: number;
  groups: number;
  midAttention: boolean;
  quantConv: boolean;
  postQuantConv: boolean;
  /** Of the pictures it was trained on; tiles are as large. */
  sampleSize: number;
  /** Added to the variance of latents. */
  statisticsEpsilon: number;
  /** Whether the config says so. */
  sampleSizeGiven: boolean;
  scalingFactor: number;
  shiftFactor: number;
}

const epsilon = 1e-6;

/** Of patches of 2×2 latents. */
const latentStatistics: FunctionDefinition<KlConfig> = {
  inputs: () => [],
  build: (m, _, { latentChannels, statisticsEpsilon }) => {
    const statistic = (name: string) => m.at('bn').weight(name, [4 * latentChannels]);
    return {
      mean: statistic('running_mean').add(0),
      deviation: statistic('running_var').add(statisticsEpsilon).sqrt(),
    };
  },
};

export const autoencoderKl = defineKl('AutoencoderKL', {
  latentChannels: 4,
  widths: [64],
  layersPerBlock: 1,
  sampleSize: 32,
  scalingFactor: 0.18215,
});

export const autoencoderKlFlux2 = defineKl('AutoencoderKLFlux2', {
  ignoredWeights: [{ names: /^bn\.num_batches_tracked$/, reason: 'how many batches made the statistics of latents' }],
  statistics: true,
  latentChannels: 32,
  widths: [128, 256, 512, 512],
  layersPerBlock: 2,
  sampleSize: 1024,
  scalingFactor: 1,
});

type KlDefaults = Pick<KlConfig, 'latentChannels' | 'widths' | 'layersPerBlock' | 'sampleSize' | 'scalingFactor'>;

interface KlTraits extends KlDefaults {
  statistics?: boolean;
  ignoredWeights?: readonly IgnoredWeights[];
}

function defineKl(
  className: string,
  { ignoredWeights = [], statistics = false, ...defaults }: KlTraits,
): AutoencoderFamily {
  return defineAutoencoder<KlConfig>({
    className,
    ignoredWeights,
    originalNames: ({ widths }) => klNames(widths.length),
    parseConfig: (config) => parseKlConfig(config, defaults),
    traits: (config) => ({
      latentChannels: config.latentChannels,
      spatialScale: 2 ** (config.widths.length - 1),
      scalingFactor: config.scalingFactor,
      shiftFactor: config.shiftFactor,
      ...(statistics ? { latentPatch: 2 } : {}),
      ...(config.sampleSizeGiven ? { sampleSize: config.sampleSize } : {}),
      tiles: { size: config.sampleSize, overlap: 0.25 },
      // Five tensors of the second level's width, at the size of the image.
      bytesPerPixel: () => 5 * 4 * (config.decoderWidths[1] ?? config.decoderWidths[0]!),
    }),
    functions: {
      ...(statistics ? { statistics: latentStatistics } : {}),
      encode: {
        inputs: ({ inChannels }) => [{ name: 'image', kind: 'float', shape: ['batch', inChannels, 'height', 'width'] }],
        build: (m, { image }, config) => {
          const hidden = encoder(m.at('encoder'), image!, config);
          const moments = 2 * config.latentChannels;
          return gaussian(
            config.quantConv ? convolution(m.at('quant_conv'), hidden, { outChannels: moments, kernel: 1 }) : hidden,
          );
        },
      },
      decode: {
        inputs: ({ latentChannels }) => [
          { name: 'latents', kind: 'float', shape: ['batch', latentChannels, 'height', 'width'] },
        ],
        build: (m, { latents }, config) => {
          const { latentChannels, postQuantConv } = config;
          const hidden = postQuantConv
            ? convolution(m.at('post_quant_conv'), latents!, { outChannels: latentChannels, kernel: 1 })
            : latents!;
          return { image: decoder(m.at('decoder'), hidden, config) };
        },
      },
    },
  });
}

function parseKlConfig(config: ConfigReader, defaults: KlDefaults): KlConfig {
  const widths = config.integers('block_out_channels', defaults.widths);
  config.requires('act_fn', 'silu');
  config.requires('latents_mean', null);
  config.requires('latents_std', null);
  config.requires('down_block_types', Array(widths.length).fill('DownEncoderBlock2D'));
  config.requires('up_block_types', Array(widths.length).fill('UpDecoderBlock2D'));
  return {
    inChannels: config.integer('in_channels', 3),
    outChannels: config.integer('out_channels', 3),
    latentChannels: config.integer('latent_channels', defaults.latentChannels),
    widths,
    decoderWidths: config.nullable('decoder_block_out_channels', (name) => config.integers(name)) ?? widths,
    layersPerBlock: config.count('layers_per_block', defaults.layersPerBlock),
    groups: config.integer('norm_num_groups', 32),
    midAttention: config.boolean('mid_block_add_attention', true),
    quantConv: config.boolean('use_quant_conv', true),
    postQuantConv: config.boolean('use_post_quant_conv', true),
    sampleSize: config.integer('sample_size', defaults.sampleSize),
    statisticsEpsilon: config.positive('batch_norm_eps', 1e-4),
    sampleSizeGiven: config.json['sample_size'] !== undefined,
    scalingFactor: config.positive('scaling_factor', defaults.scalingFactor),
    shiftFactor: config.nullable('shift_factor', (name) => config.number(name)) ?? 0,
  };
}

/** image [B, C, H, W] → [B, 2·latent channels, H / scale, W / scale]. */
const encoder = layer((m, image: SymbolicTensor, config: KlConfig): SymbolicTensor => {
  const { widths, layersPerBlock, latentChannels } = config;
  let x = conv3x3(m.at('conv_in'), image, widths[0]!);
  for (const [level, width] of widths.entries()) {
    const block = m.at(`down_blocks.${level}`);
    for (let i = 0; i < layersPerBlock; i++) x = resnet(block.at(`resnets.${i}`), x, width, config);
    if (level < widths.length - 1) x = downsample(block.at('downsamplers.0'), x);
  }
  return head(m, middle(m.at('mid_block'), x, config), 2 * latentChannels, config);
});

/** latents [B, C, h, w] → [B, out channels, h·scale, w·scale]. The decoder has one residual block more per level. */
const decoder = layer((m, latents: SymbolicTensor, config: KlConfig): SymbolicTensor => {
  const { decoderWidths: widths, layersPerBlock, outChannels } = config;
  let x = middle(m.at('mid_block'), conv3x3(m.at('conv_in'), latents, widths.at(-1)!), config);
  for (const [level, width] of widths.toReversed().entries()) {
    const block = m.at(`up_blocks.${level}`);
    for (let i = 0; i <= layersPerBlock; i++) x = resnet(block.at(`resnets.${i}`), x, width, config);
    if (level < widths.length - 1) x = upsample(block.at('upsamplers.0'), x);
  }
  return head(m, x, outChannels, config);
});

/** The last norm, activation and convolution of both networks. */
function head(m: Module, x: SymbolicTensor, outChannels: number, { groups }: KlConfig): SymbolicTensor {
  return conv3x3(m.at('conv_out'), groupNorm(m.at('conv_norm_out'), x, groups, epsilon).silu(), outChannels);
}

const middle = layer((m, x: SymbolicTensor, config: KlConfig): SymbolicTensor => {
  const width = x.dim(1);
  const before = resnet(m.at('resnets.0'), x, width, config);
  const attended = config.midAttention ? pixelAttention(m.at('attentions.0'), before, config.groups) : before;
  return resnet(m.at('resnets.1'), attended, width, config);
});

/** Norm, SiLU, 3×3 convolution, twice; plus the input, through a 1×1 convolution where the width changes. */
export const resnet = layer(
  (m, x: SymbolicTensor, width: number, { groups }: Pick<KlConfig, 'groups'>): SymbolicTensor => {
    let hidden = conv3x3(m.at('conv1'), groupNorm(m.at('norm1'), x, groups, epsilon).silu(), width);
    hidden = conv3x3(m.at('conv2'), groupNorm(m.at('norm2'), hidden, groups, epsilon).silu(), width);
    const shortcut = x.dim(1) === width ? x : convolution(m.at('conv_shortcut'), x, { outChannels: width, kernel: 1 });
    return shortcut.add(hidden);
  },
);

/** Self-attention of all pixels of x [B, C, H, W] in one head, added to x. */
const pixelAttention = layer((m, x: SymbolicTensor, groups: number): SymbolicTensor => {
  const [batch, width, height, columns] = dims(x, 4);
  const tokens = groupNorm(m.at('group_norm'), x.reshape([batch, width, height * columns]), groups, epsilon).transpose([
    0, 2, 1,
  ]);
  // Checkpoints from before Diffusers 0.15 (Stable Diffusion 1, DiT) use the second names.
  const project = (name: string, legacyName: string, y: SymbolicTensor) =>
    linear(m.at(m.has(`${legacyName}.weight`) ? legacyName : name), y, width);
  const attended = multiHeadAttention({
    query: project('to_q', 'query', tokens),
    key: project('to_k', 'key', tokens),
    value: project('to_v', 'value', tokens),
    numHeads: 1,
  });
  return x.add(project('to_out.0', 'proj_attn', attended).transpose([0, 2, 1]).reshape(x.shape));
});

/** Halves the image; the missing neighbours are padded at the right and the bottom only. */
const downsample = layer((m, x: SymbolicTensor): SymbolicTensor => {
  return convolution(m.at('conv'), x, { outChannels: x.dim(1), kernel: 3, stride: 2, padding: [0, 0, 1, 1] });
});

const upsample = layer((m, x: SymbolicTensor): SymbolicTensor => {
  return conv3x3(m.at('conv'), upsampleNearest(x, [2, 2]), x.dim(1));
});

export function conv3x3(m: Module, x: SymbolicTensor, outChannels: number): SymbolicTensor {
  return convolution(m, x, { outChannels, kernel: 3, padding: 1 });
}
