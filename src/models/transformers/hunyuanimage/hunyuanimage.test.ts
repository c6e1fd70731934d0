import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('HunyuanImageTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/hunyuanimage' });

  itRefuses({
    folder: 'models/hunyuanimage',
    inputs: [
      [{ encoder_attention_mask: zeros([1, 7]) }, 'encoder_attention_mask: sample 0 keeps no token'],
      [{ guidance: zeros([1]) }, 'guidance: unknown input'],
    ],
    configs: [
      [{ qk_norm: 'layer_norm' }, 'qk_norm = "layer_norm" (only "rms_norm" is)'],
      [{ patch_size: [1, 1, 1] }, "'patch_size' is [1,1,1] and 'rope_axes_dim' [8,8], expected 2 or 3 axes each"],
    ],
  });

  describe('with guidance and mean flow', () => {
    itMatchesDiffusers({ folder: 'models/hunyuanimage_distilled', cases: ['io', 'io_b2'] });
  });

  describe('with glyphs', () => {
    itMatchesDiffusers({ folder: 'models/hunyuanimage_glyph', cases: ['io', 'io_b2'] });

    itRefuses({
      folder: 'models/hunyuanimage_glyph',
      inputs: [[{ encoder_attention_mask_2: undefined }, 'encoder_attention_mask_2: missing input, it goes with']],
    });
  });
});
