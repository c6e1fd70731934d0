import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('CosmosTransformer3DModel', () => {
  itMatchesDiffusers({ folder: 'models/cosmos' });

  itRefuses({
    folder: 'models/cosmos',
    inputs: [
      [{ fps: 0 }, 'fps: expected a number of frames a second above 0'],
      [{ condition_mask: zeros([1, 1, 2, 6, 8]) }, 'condition_mask'],
      [{ timestep: zeros([1, 1]) }, 'timestep: shape [1,1], expected [batch=1] or [batch=1, 1, frames'],
    ],
    configs: [[{ img_context_dim_in: 16 }, 'img_context_dim_in = 16 (only null is)']],
  });

  describe('of Predict2 and Anima', () => {
    itMatchesDiffusers({ folder: 'models/cosmos_predict2' });
  });
});
