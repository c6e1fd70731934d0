import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('GlmImageTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/glmimage' });

  itRefuses({
    folder: 'models/glmimage',
    inputs: [
      [
        { prior_token_id: zeros([1, 5]), prior_token_drop: zeros([1]) },
        'prior_token_id: shape [1,5], expected [batch, 12]',
      ],
      [{ attention_mask: zeros([1, 7]) }, 'attention_mask: unknown input'],
    ],
  });
});
