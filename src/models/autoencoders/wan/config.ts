/** The configs of `AutoencoderKLWan` and `AutoencoderKLQwenImage`. */

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
}

const latentsMean = [
  -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632, -0.1922,
  -0.9497, 0.2503, -0.2921,
];
const latentsStd = [
  2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253,
  2.8251, 1.916,
];

export function parseWanConfig(config: ConfigReader): WanConfig {
  config.requires('attn_scales', []);
  const patch = config.nullable('patch_size', (name) => config.count(name)) ?? 1;
  const channels = config.integer('in_channels', config.integer('input_channels', 3));
  config.requires('out_channels', channels);
  const multipliers = config.integers('dim_mult', [1, 2, 4, 4]);
  const encoderStem = config.integer('base_dim', 96);
  const decoderBase = config.nullable('decoder_base_dim', (name) => config.integer(name)) ?? encoderStem;
  const temporal = booleans(config, 'temperal_downsample', [false, true, true]);
  const latentChannels = config.integer('z_dim', 16);
  const mean = config.numbers('latents_mean', latentsMean);
  const std = config.positives('latents_std', latentsStd);
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
    residual: config.boolean('is_residual', false),
    patch,
    latentsMean: mean,
    latentsStd: std,
  };
}
