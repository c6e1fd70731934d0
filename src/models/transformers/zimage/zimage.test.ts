import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('ZImageTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/zimage' });

  itRefuses({
    folder: 'models/zimage',
    inputs: [
      [{ t: undefined }, 't: missing input, expected [batch]'],
      [{ x: zeros([1, 4, 1, 12, 8]) }, 'x: expected a list of tensors [4, frames, height, width]'],
      [{ x: [zeros([4, 12, 8])] }, 'x.0: shape [4,12,8], expected [4, frames, height, width]'],
      [
        { x: [zeros([4, 1, 11, 8])] },
        'x: an image [4,1,11,8], expected frames, rows and columns that are multiples of [1,2,2]',
      ],
      [{ x: [[zeros([4, 1, 12, 8])]] }, 'x: several images per sample ("omni" mode) are not supported'],
      [{ cap_feats: [zeros([11, 20]), zeros([5, 20])] }, 'x: 1 image(s) with 2 caption(s) and 1 timestep(s)'],
      [{ cap_feats: [zeros([11, 21])] }, 'cap_feats.0: shape [11,21], expected [tokens=11, 20]'],
      [{ patch_size: 4 }, 'patch_size: 4 with f_patch_size 1, expected 2 with f_patch_size 1'],
    ],
    configs: [[{ siglip_feat_dim: 1152 }, 'siglip_feat_dim = 1152 (only null is)']],
  });
});
