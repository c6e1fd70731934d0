import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('OvisImageTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/ovisimage' });

  itRefuses({
    folder: 'models/ovisimage',
    inputs: [
      [{ txt_ids: zeros([6, 3]) }, 'txt_ids: shape [6,3], expected [text_tokens=7, 3]'],
      [{ pooled_projections: zeros([1, 8]) }, 'pooled_projections: unknown input'],
    ],
  });
});
