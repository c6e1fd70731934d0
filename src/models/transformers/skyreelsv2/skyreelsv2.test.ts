import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('SkyReelsV2Transformer3DModel', () => {
  itMatchesDiffusers({ folder: 'models/skyreelsv2', cases: ['io', 'io_b2', 'io_df'] });

  itRefuses({
    folder: 'models/skyreelsv2',
    inputs: [
      [{ enable_diffusion_forcing: true }, 'enable_diffusion_forcing: expected false, since each sample has one time'],
      [{ timestep: zeros([1, 2]), enable_diffusion_forcing: true }, 'timestep: shape [1,2], expected'],
      [{ fps: 24 }, 'fps: unknown input'],
    ],
  });
});
