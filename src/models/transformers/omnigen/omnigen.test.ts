import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('OmniGenTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/omnigen' });

  itRefuses({
    folder: 'models/omnigen',
    inputs: [[{ attention_mask: zeros([1, 4, 4]) }, 'position_ids: shape [1,32], expected [positions=1, tokens=4]']],
    configs: [
      [{ rope_scaling: { short_factor: [1], long_factor: [1] } }, "'rope_scaling' has 1 and 1 factors, expected 8"],
    ],
  });
});
