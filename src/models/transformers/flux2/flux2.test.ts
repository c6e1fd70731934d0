import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('Flux2Transformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/flux2' });

  itRefuses({
    folder: 'models/flux2',
    inputs: [
      [{ guidance: undefined }, 'guidance: missing input, expected [batch]'],
      [
        { img_ids: zeros([20, 3]) },
        'img_ids: shape [20,3], expected [image_tokens=20, 4] or [batch=1, image_tokens=20, 4]',
      ],
      [{ pooled_projections: zeros([1, 8]) }, 'pooled_projections: unknown input'],
    ],
    configs: [
      [{ patch_size: 2 }, 'patch_size = 2 (only 1 is)'],
      [{ mlp_ratio: '3' }, `'mlp_ratio' is "3", expected a number`],
    ],
  });
});
