import { describe } from 'vitest';
import { intTensor } from '../../../tensor/tensor.ts';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses } from '../../testing/refusals.ts';

describe('MiniMaxH3Transformer3DModel', () => {
  itMatchesDiffusers({ folder: 'models/minimax_h3' });

  itRefuses({
    folder: 'models/minimax_h3',
    inputs: [
      [{ text_indices: intTensor([0, 1, 2, 3, 4, 6]) }, 'video_indices: row 5 has no token'],
      [{ token_tags: intTensor(Array<number>(35).fill(3)) }, 'token_tags: has 3, expected 0 to 2'],
    ],
    configs: [[{ patch_size: 2 }, `'patch_size' is 2`]],
  });
});
