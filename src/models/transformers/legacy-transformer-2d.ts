/**
 * `Transformer2DModel`, the class under which DiT, PixArt-α and PixArt-Σ were published before Diffusers gave each its own. The
 * weights are named alike; only the kind of norm in the config tells which one it is.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { ConfigReader } from '../config-reader.ts';
import type { TransformerFamily } from '../definition.ts';
import { ditTransformer } from './dit/dit.ts';
import { pixartTransformer } from './pixart/pixart.ts';

const families: Readonly<Record<string, TransformerFamily>> = {
  ada_norm_zero: ditTransformer,
  ada_norm_single: pixartTransformer,
};

export const legacyTransformer2D: TransformerFamily = {
  className: 'Transformer2DModel',
  configure(config) {
    const normType = config.string('norm_type', 'layer_norm');
    const family = families[normType];
    // Unlike PixArt's own class, this one has as many channels out as in unless told otherwise.
    if (family) return family.configure(new ConfigReader({ out_channels: null, ...config.json }, config.origin));
    throw new DejaDitError(
      'UNSUPPORTED',
      `a Transformer2DModel with norm_type '${normType}' is neither DiT (ada_norm_zero) nor PixArt (ada_norm_single)`,
      { path: config.origin },
    );
  },
};
