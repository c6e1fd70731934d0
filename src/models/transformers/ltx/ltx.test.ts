import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('LTXVideoTransformer3DModel', () => {
  itMatchesDiffusers({ folder: 'models/ltx' });

  itRefuses({
    folder: 'models/ltx',
    inputs: [
      [{ encoder_attention_mask: undefined }, 'encoder_attention_mask: missing input, expected [batch, text_tokens]'],
      [{ timestep: zeros([1, 9]) }, 'timestep: shape [1,9], expected [1] or [1, 60]'],
      [
        { num_frames: undefined },
        "num_frames: undefined, expected the latent video's size in tokens, or 'video_coords' instead",
      ],
      [{ height: 5 }, 'num_frames: 3 × 5 × 5 are 75 tokens, hidden_states has 60'],
      [
        { rope_interpolation_scale: [1, 32] },
        'rope_interpolation_scale: expected three numbers: frames, rows, columns',
      ],
      [{ video_coords: zeros([1, 2, 60]) }, 'video_coords: shape [1,2,60], expected [batch=1, 3, tokens=60]'],
    ],
    configs: [
      [{ qk_norm: 'rms_norm' }, 'qk_norm = "rms_norm" (only "rms_norm_across_heads" is)'],
      [{ activation_fn: 'mish' }, `'activation_fn' is "mish", expected one of`],
    ],
  });

  describe('with affine norms, times and positions for every token', () => {
    itMatchesDiffusers({ folder: 'models/ltx_affine', cases: ['io_coords', 'io_unscaled'] });
  });
});
