import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('Krea2Transformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/krea2' });

  itRefuses({
    folder: 'models/krea2',
    inputs: [[{ position_ids: zeros([4, 3]) }, 'position_ids: shape [4,3], expected']],
  });
});
