import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('FluxTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/flux' });

  itRefuses({
    folder: 'models/flux',
    inputs: [
      [{ pooled_projections: undefined }, 'pooled_projections: missing input, expected [batch'],
      [{ hidden_states: zeros([1, 4, 4, 4]) }, 'hidden_states: shape [1,4,4,4], expected [batch, image_tokens, '],
      [{ txt_ids: zeros([1, 3]) }, 'txt_ids: shape [1,3], expected [text_tokens='],
      [{ joint_attention_kwargs: {} }, 'joint_attention_kwargs: unknown input'],
    ],
    configs: [[{ patch_size: 2 }, 'patch_size = 2 (only 1 is)']],
  });
});
