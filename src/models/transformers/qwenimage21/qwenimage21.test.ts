import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('QwenImage21Transformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/qwenimage21', cases: ['io', 'io_b2', 'io_edit'] });

  itRefuses({
    folder: 'models/qwenimage21',
    inputs: [[{ img_mask: zeros([1, 13]) }, 'img_mask: 0 slots of pictures, expected 6 for 24 tokens']],
    configs: [[{ patch_size: 2 }, 'patch_size = 2 (only 1 is)']],
  });
});
