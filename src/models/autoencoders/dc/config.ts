/** The config of `AutoencoderDC`: two pyramids, every level with its own kind of block, norm and activation. */
import { DejaDitError } from '../../../errors/errors.ts';
import { quote } from '../../../errors/printable.ts';
import { type ConfigReader, layerRange } from '../../config-reader.ts';
import { checkLevels, choicePerLevel } from '../levels.ts';

export interface DcLevel {
  width: number;
  blocks: number;
  /** EfficientViT blocks in place of residual convolutions. */
  attention: boolean;
  headDim: number;
  /** Kernel sizes of the attention's further scales. */
  scales: readonly number[];
  norm: 'rms_norm' | 'batch_norm';
  activation: 'silu' | 'relu';
}

export interface DcPyramid {
  /** From the image to the latents. */
  levels: readonly DcLevel[];
  /** Sizes change by moving pixels into channels and back. */
  shuffle: boolean;
  /** The shortcut beside the convolution next to the latents. */
  shortcut: boolean;
  lastActivation: DcLevel['activation'];
}

export interface DcConfig {
  inChannels: number;
  latentChannels: number;
  encoder: DcPyramid;
  decoder: DcPyramid;
  scalingFactor: number;
}

export function parseDcConfig(config: ConfigReader): DcConfig {
  const activations = ['silu', 'relu'] as const;
  return {
    inChannels: config.integer('in_channels', 3),
    latentChannels: config.integer('latent_channels', 32),
    encoder: {
      levels: levels(config, 'encoder', [2, 2, 2, 3, 3, 3]),
      shuffle: config.choice('downsample_block_type', ['pixel_unshuffle', 'Conv'], 'pixel_unshuffle') !== 'Conv',
      shortcut: config.boolean('encoder_out_shortcut', true),
      lastActivation: 'silu',
    },
    decoder: {
      levels: levels(config, 'decoder', [3, 3, 3, 3, 3, 3]),
      shuffle:
        config.choice('upsample_block_type', ['pixel_shuffle', 'interpolate'], 'pixel_shuffle') !== 'interpolate',
      shortcut: config.boolean('decoder_in_shortcut', true),
      lastActivation: config.choice('decoder_conv_act_fn', activations, 'relu'),
    },
    scalingFactor: config.positive('scaling_factor', 1),
  };
}

function levels(config: ConfigReader, side: 'encoder' | 'decoder', defaultBlocks: readonly number[]): DcLevel[] {
  const widths = config.integers(`${side}_block_out_channels`, [128, 256, 512, 512, 1024, 1024]);
  const blocks = config.integers(`${side}_layers_per_block`, defaultBlocks, layerRange);
  const scales = kernelLists(config, `${side}_qkv_multiscales`, [[], [], [], [5], [5], [5]]);
  checkLevels(config, widths.length, { [`${side}_layers_per_block`]: blocks, [`${side}_qkv_multiscales`]: scales });
  const choose = <T extends string>(name: string, options: readonly T[], fallback: T) =>
    choicePerLevel(config, name, { levels: widths.length, options, fallback });
  const kinds = choose(`${side}_block_types`, ['ResBlock', 'EfficientViTBlock'], 'ResBlock');
  // Only the decoder's norms and activations can be chosen; the encoder has no such fields.
  const norms = choose(`${side}_norm_types`, ['rms_norm', 'batch_norm'], 'rms_norm');
  const activations = choose(`${side}_act_fns`, ['silu', 'relu'], 'silu');
  const headDim = config.count('attention_head_dim', 32);
  return widths.map((width, level) => ({
    width,
    blocks: blocks[level]!,
    attention: kinds[level] === 'EfficientViTBlock',
    headDim,
    scales: scales[level]!,
    norm: norms[level]!,
    activation: activations[level]!,
  }));
}

/** A list of lists of kernel sizes. */
function kernelLists(config: ConfigReader, name: string, fallback: readonly (readonly number[])[]) {
  const value = config.json[name] ?? fallback;
  const isKernels = (entry: unknown): entry is number[] =>
    Array.isArray(entry) && entry.every((size) => Number.isSafeInteger(size) && size > 0 && size < 256);
  if (Array.isArray(value) && value.every(isKernels)) return value;
  throw new DejaDitError('INVALID_CONFIG', `'${name}' is ${quote(value)}, expected lists of kernel sizes`, {
    path: config.origin,
  });
}
