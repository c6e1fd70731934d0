import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('CogView4Transformer2DModel', () => {
  // In `io` and `io_b2` the original and the target size are one; `io_sizes` tells them apart, on a wide image.
  itMatchesDiffusers({ folder: 'models/cogview4', cases: ['io', 'io_b2', 'io_sizes'], tolerance: 1e-5 });

  itRefuses({
    folder: 'models/cogview4',
    inputs: [
      [{ crop_coords: undefined }, 'crop_coords: missing input, expected [batch, 2]'],
      [
        { hidden_states: zeros([1, 4, 12, 7]) },
        'hidden_states: shape [1,4,12,7], expected spatial sizes that are multiples',
      ],
      [
        { hidden_states: zeros([1, 3, 12, 8]) },
        'hidden_states: shape [1,3,12,8], expected [batch=1, 4, height, width]',
      ],
      [{ target_size: zeros([1, 3]) }, 'target_size: shape [1,3], expected [batch=1, 2]'],
      [{ attention_mask: zeros([1, 7]) }, 'attention_mask: unknown input'],
    ],
    configs: [
      [{ rope_axes_dim: [16] }, "'rope_axes_dim' is [16], expected [rows, columns]"],
      [{ patch_size: 'two' }, `'patch_size' is "two", expected an integer`],
    ],
  });
});
