import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('ErnieImageTransformer2DModel', () => {
  // The recorded blocks are turned from (token, sample) to (sample, token).
  itMatchesDiffusers({ folder: 'models/ernieimage' });

  itRefuses({
    folder: 'models/ernieimage',
    inputs: [[{ text_lens: zeros([2]) }, 'text_lens: shape [2], expected [batch=1]']],
    configs: [[{ qk_layernorm: false }, 'qk_layernorm = false (only true is)']],
  });
});
