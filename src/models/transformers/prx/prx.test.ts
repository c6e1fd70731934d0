import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('PRXTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/prx' });

  itRefuses({
    folder: 'models/prx',
    inputs: [
      [{ attention_mask: zeros([1, 5]) }, 'attention_mask: shape [1,5], expected [batch=1, text_tokens=7]'],
      [
        { hidden_states: zeros([1, 4, 11, 8]) },
        'hidden_states: shape [1,4,11,8], expected spatial sizes that are multiples',
      ],
    ],
  });
});
