import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('LongCatImageTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/longcatimage' });

  itRefuses({
    folder: 'models/longcatimage',
    inputs: [[{ guidance: zeros([1]) }, 'guidance: unknown input']],
  });
});
