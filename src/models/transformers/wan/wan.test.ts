import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('WanTransformer3DModel', () => {
  itMatchesDiffusers({ folder: 'models/wan', cases: ['io', 'io_b2', 'io_tokent'] });

  itRefuses({
    folder: 'models/wan',
    inputs: [
      [{ encoder_hidden_states: undefined }, 'encoder_hidden_states: missing input, expected [batch, text_tokens, 24]'],
      [
        { hidden_states: zeros([4, 3, 6, 8]) },
        'hidden_states: shape [4,3,6,8], expected [batch, 4, frames, height, width]',
      ],
      [
        { hidden_states: zeros([1, 4, 3, 6, 7]) },
        'hidden_states: shape [1,4,3,6,7], expected spatial sizes that are multiples',
      ],
      [{ timestep: zeros([1, 35]) }, 'timestep: shape [1,35], expected [1] or [1, 36]'],
      [{ timestep: zeros([1, 1, 36]) }, 'timestep: shape [1,1,36], expected [batch=1] or [batch=1, times]'],
      [{ encoder_hidden_states_image: zeros([1, 6, 10]) }, 'encoder_hidden_states_image: unknown input'],
    ],
    configs: [[{ qk_norm: 'rms_norm' }, 'qk_norm = "rms_norm" (only "rms_norm_across_heads" is)']],
  });

  describe('from image to video', () => {
    itMatchesDiffusers({ folder: 'models/wan_i2v', cases: ['io', 'io_noimage'] });
  });
});
