import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('AuraFlowTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/auraflow' });

  itRefuses({
    folder: 'models/auraflow',
    inputs: [
      [
        { hidden_states: zeros([1, 4, 11, 8]) },
        'hidden_states: shape [1,4,11,8], expected spatial sizes that are multiples',
      ],
      [{ encoder_attention_mask: zeros([1, 7]) }, 'encoder_attention_mask: unknown input'],
    ],
    configs: [[{ caption_projection_dim: 24 }, 'caption_projection_dim = 24 (only 32 is)']],
  });
});
