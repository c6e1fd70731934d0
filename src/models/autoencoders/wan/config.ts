/** The configs of `AutoencoderKLWan`, `AutoencoderKLQwenImage` and `AutoencoderKLQwenImage21`. */

import { DejaDitError } from '../../../errors/errors.ts';
import type { ConfigReader } from '../../config-reader.ts';
import { booleans, checkLevels } from '../levels.ts';

export interface WanConfig {
  imageChannels: number;
  latentChannels: number;
  /** Channels of each level, widest image first; and of the convolution before the first level. */
  encoderWidths: readonly number[];
  encoderStem: number;
  decoderWidths: readonly number[];
  blocks: number;
  /** Whether time is halved along with the image, for every level but the last. */
  temporal: readonly boolean[];
  /** Wan 2.2: shortcuts around whole levels. */
  residual: boolean;
  /** Pixels of patch×patch squares are channels for the network. */
  patch: number;
  latentsMean: readonly number[];
  latentsStd: readonly number[];
  /** Whether it knows single frames only. */
  ofPictures: boolean;
}

/** What the classes assume for fields that a config leaves out. */
export interface WanDefaults {
  channels: number;
  stem: number;
  decoderStem?: number;
  latentChannels: number;
  multipliers: readonly number[];
  temporal: readonly boolean[];
  residual: boolean;
  /** Per latent channel. Default: configs name them. */
  latentsMean?: readonly number[];
  latentsStd?: readonly number[];
}

const latentsMean = [
  -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632, -0.1922,
  -0.9497, 0.2503, -0.2921,
];
const latentsStd = [
  2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253,
  2.8251, 1.916,
];

export const wanDefaults: WanDefaults = {
  channels: 3,
  stem: 96,
  latentChannels: 16,
  multipliers: [1, 2, 4, 4],
  temporal: [false, true, true],
  residual: false,
  latentsMean,
  latentsStd,
};

export const pictureDefaults: WanDefaults = {
  channels: 4,
  stem: 96,
  decoderStem: 144,
  latentChannels: 64,
  multipliers: [1, 2, 4, 8, 8],
  temporal: [false, true, true, true],
  residual: true,
};

export function parseWanConfig(config: ConfigReader, defaults: WanDefaults): WanConfig {
  config.requires('attn_scales', []);
  const patch = config.nullable('patch_size', (name) => config.count(name)) ?? 1;
  const channels = config.integer('in_channels', config.integer('input_channels', defaults.channels));
  config.requires('out_channels', channels);
  const multipliers = config.integers('dim_mult', defaults.multipliers);
  const encoderStem = config.integer('base_dim', defaults.stem);
  const decoderStem = config.json['decoder_base_dim'] === null ? encoderStem : (defaults.decoderStem ?? encoderStem);
  const decoderBase = config.integer('decoder_base_dim', decoderStem);
  const temporal = booleans(config, 'temperal_downsample', defaults.temporal);
  const latentChannels = config.integer('z_dim', defaults.latentChannels);
  const mean = config.numbers('latents_mean', defaults.latentsMean);
  const std = config.positives('latents_std', defaults.latentsStd);
  checkLevels(config, multipliers.length - 1, { temperal_downsample: temporal });
  for (const [name, values] of Object.entries({ latents_mean: mean, latents_std: std })) {
    if (values.length === latentChannels) continue;
    throw new DejaDitError(
      'INVALID_CONFIG',
      `'${name}' has ${values.length} entries, expected ${latentChannels} (z_dim)`,
      {
        path: config.origin,
      },
    );
  }
  return {
    imageChannels: channels / patch ** 2,
    latentChannels,
    encoderWidths: multipliers.map((multiplier) => multiplier * encoderStem),
    encoderStem,
    decoderWidths: multipliers.map((multiplier) => multiplier * decoderBase),
    blocks: config.count('num_res_blocks', 2),
    temporal,
    residual: config.boolean('is_residual', defaults.residual),
    patch,
    latentsMean: mean,
    latentsStd: std,
    ofPictures: defaults === pictureDefaults,
  };
}
