import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('Flux3Transformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/flux3', cases: ['io', 'io_b2', 'io_cond'] });

  itRefuses({
    folder: 'models/flux3',
    inputs: [
      [{ image_cond_ids: zeros([2, 4]) }, 'image_cond_hidden_states: missing input, it goes with image_cond_ids'],
      [{ target_timestep: zeros([1]) }, 'target_timestep: unknown input'],
    ],
  });

  describe('with a flow map', () => {
    itMatchesDiffusers({ folder: 'models/flux3_flowmap' });
  });
});
