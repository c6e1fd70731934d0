import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('AllegroTransformer3DModel', () => {
  itMatchesDiffusers({ folder: 'models/allegro' });

  itRefuses({
    folder: 'models/allegro',
    inputs: [
      [{ image_rotary_emb: [zeros([2, 4])] }, 'image_rotary_emb: expected a list of 2'],
      [{ attention_mask: zeros([1, 1, 8, 12]) }, 'attention_mask: shape [1,1,8,12], expected 2 frames'],
    ],
    configs: [
      [{ norm_elementwise_affine: true }, 'norm_elementwise_affine = true (only false is)'],
      [{ patch_size_t: 2 }, 'patch_size_t = 2 (only 1 is)'],
    ],
  });
});
