import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('SanaTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/sana' });

  itRefuses({
    folder: 'models/sana',
    inputs: [
      [{ timestep: undefined }, 'timestep: missing input, expected [batch]'],
      [{ hidden_states: zeros([1, 4, 6, 4]) }, 'hidden_states: shape [1,4,6,4], expected [batch=1, 8, height, width]'],
    ],
    configs: [
      [{ qk_norm: 'rms_norm' }, `'qk_norm' is "rms_norm", expected one of rms_norm_across_heads`],
      [{ cross_attention_dim: 48 }, 'cross_attention_dim = 48 (only 32 is)'],
    ],
  });
});

describe('SanaTransformer2DModel: Sana-Sprint', () => {
  itMatchesDiffusers({ folder: 'models/sana_sprint', cases: ['io'] });
  itRefuses({
    folder: 'models/sana_sprint',
    inputs: [[{ guidance: undefined }, 'guidance: missing input, expected [batch]']],
  });
});
