/** The config of `UNet2DConditionModel`: what of its many switches published checkpoints use; the others are refused by name. */
import { DejaDitError } from '../../../errors/errors.ts';
import type { ConfigReader } from '../../config-reader.ts';

/** One level of the pyramid. */
export interface Level {
  width: number;
  /** Residual blocks on the way down; one more on the way up. */
  layers: number;
  attention: boolean;
  heads: number;
  /** Transformer blocks behind each residual block. */
  transformerLayers: number;
}

export interface UNetConfig {
  inChannels: number;
  outChannels: number;
  /** The way down, the widest image first. */
  levels: readonly Level[];
  /** What differs on the way up, by the blocks' order there. */
  up: readonly Pick<Level, 'attention' | 'transformerLayers'>[];
  middle: Pick<Level, 'transformerLayers'>;
  /** Edge of the latents that it was trained at. */
  sampleSize: number | undefined;
  textWidth: number;
  timeWidth: number;
  flipSinToCos: boolean;
  /** Width of the guidance embedding of latent consistency models. */
  guidanceWidth: number | undefined;
  /** SDXL's pooled text and sizes. */
  added: AddedConditions | undefined;
  linearProjection: boolean;
  downsamplePadding: number;
  groups: number;
  epsilon: number;
}

export interface AddedConditions {
  textWidth: number;
  /** Numbers in `time_ids`. */
  ids: number;
  /** Sinusoids of each. */
  features: number;
}

/** Switches that no published checkpoint of these pipelines turns. */
const fixed: Readonly<Record<string, unknown>> = {
  act_fn: 'silu',
  attention_type: 'default',
  center_input_sample: false,
  class_embed_type: null,
  class_embeddings_concat: false,
  conv_in_kernel: 3,
  conv_out_kernel: 3,
  cross_attention_norm: null,
  dual_cross_attention: false,
  encoder_hid_dim: null,
  encoder_hid_dim_type: null,
  freq_shift: 0,
  mid_block_scale_factor: 1,
  mid_block_type: 'UNetMidBlock2DCrossAttn',
  num_attention_heads: null,
  num_class_embeds: null,
  resnet_out_scale_factor: 1,
  resnet_skip_time_act: false,
  resnet_time_scale_shift: 'default',
  time_embedding_act_fn: null,
  time_embedding_dim: null,
  time_embedding_type: 'positional',
  timestep_post_act: null,
};

/** @throws DejaDitError INVALID_CONFIG for lists that do not fit each other */
export function parseUNetConfig(config: ConfigReader): UNetConfig {
  for (const [name, value] of Object.entries(fixed)) config.requires(name, value);
  const widths = config.integers('block_out_channels', [320, 640, 1280, 1280]);
  const count = widths.length;
  const attends = (name: string, kind: 'Down' | 'Up', fallback: readonly string[]) =>
    fitting(config, name, config.strings(name, fallback), count).map((block) => {
      if (block === `CrossAttn${kind}Block2D`) return true;
      if (block === `${kind}Block2D`) return false;
      throw wrong(config, name, `has '${block}', supported are CrossAttn${kind}Block2D and ${kind}Block2D`);
    });
  const cross = Array<string>(Math.max(count - 1, 0));
  const down = attends('down_block_types', 'Down', [...cross.fill('CrossAttnDownBlock2D'), 'DownBlock2D']);
  const up = attends('up_block_types', 'Up', ['UpBlock2D', ...cross.fill('CrossAttnUpBlock2D')]);
  const heads = perLevel(config, 'attention_head_dim', { count, fallback: 8 });
  const layers = perLevel(config, 'layers_per_block', { count, fallback: 2 });
  const transformers = perLevel(config, 'transformer_layers_per_block', { count, fallback: 1 });
  const reversed = Array.isArray(config.json['reverse_transformer_layers_per_block'])
    ? perLevel(config, 'reverse_transformer_layers_per_block', { count, fallback: 1 })
    : transformers.toReversed();
  for (const name of ['only_cross_attention', 'mid_block_only_cross_attention']) {
    if ([config.json[name]].flat().some(Boolean)) config.requires(name, false);
  }
  return {
    inChannels: config.integer('in_channels', 4),
    outChannels: config.integer('out_channels', 4),
    levels: widths.map((width, i) => ({
      width,
      layers: layers[i]!,
      attention: down[i]!,
      heads: heads[i]!,
      transformerLayers: transformers[i]!,
    })),
    up: up.map((attention, i) => ({ attention, transformerLayers: reversed[i]! })),
    middle: { transformerLayers: transformers.at(-1)! },
    sampleSize: config.nullable('sample_size', (name) => config.integer(name)),
    textWidth: textWidth(config),
    timeWidth: 4 * widths[0]!,
    flipSinToCos: config.boolean('flip_sin_to_cos', true),
    guidanceWidth: config.nullable('time_cond_proj_dim', (name) => config.integer(name)),
    added: addedConditions(config),
    linearProjection: config.boolean('use_linear_projection', false),
    downsamplePadding: config.integer('downsample_padding', 1, { min: 1, max: 1 }),
    groups: config.integer('norm_num_groups', 32),
    epsilon: config.positive('norm_eps', 1e-5),
  };
}

function addedConditions(config: ConfigReader): AddedConditions | undefined {
  if (config.json['addition_embed_type'] === undefined || config.json['addition_embed_type'] === null) return undefined;
  config.choice('addition_embed_type', ['text_time']);
  const features = config.integer('addition_time_embed_dim', 256);
  // Six numbers: original size, crop, target size. (Refiners have five, and image pipelines of their own.)
  const ids = 6;
  const textWidth = config.integer('projection_class_embeddings_input_dim') - ids * features;
  if (textWidth > 0) return { textWidth, ids, features };
  throw wrong(config, 'projection_class_embeddings_input_dim', `leaves no room for text beside six times ${features}`);
}

function textWidth(config: ConfigReader): number {
  const name = 'cross_attention_dim';
  const given = config.json[name];
  if (!Array.isArray(given)) return config.integer(name, 1280);
  const widths = new Set(config.integers(name));
  if (widths.size === 1) return [...widths][0]!;
  throw wrong(config, name, 'differs from level to level, which no pipeline here provides for');
}

/** A number for all levels, or one for each. */
function perLevel(
  config: ConfigReader,
  name: string,
  { count, fallback }: { count: number; fallback: number },
): readonly number[] {
  if (!Array.isArray(config.json[name])) return Array<number>(count).fill(config.count(name, fallback));
  return fitting(config, name, config.counts(name), count);
}

function fitting<T>(config: ConfigReader, name: string, list: readonly T[], count: number): readonly T[] {
  if (list.length === count && count > 0) return list;
  throw wrong(config, name, `has ${list.length} entries for ${count} levels`);
}

const wrong = (config: ConfigReader, name: string, message: string) =>
  new DejaDitError('INVALID_CONFIG', `'${name}' ${message}`, { path: config.origin });
