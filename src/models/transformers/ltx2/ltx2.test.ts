import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('LTX2VideoTransformer3DModel', () => {
  itMatchesDiffusers({ folder: 'models/ltx2', cases: ['io'] });

  itRefuses({
    folder: 'models/ltx2',
    inputs: [
      [{ num_frames: 3 }, 'hidden_states: 3 x 3 x 4 latents do not make 24 tokens'],
      [{ height: undefined }, 'height: is missing'],
      [{ perturbation_mask: zeros([1]) }, 'perturbation_mask: unknown input'],
    ],
    configs: [[{ rope_type: 'spiral' }, `'rope_type' is "spiral"`]],
  });
});

describe('LTX2VideoTransformer3DModel as of LTX-2.3: gates, modulated texts, halves of heads turned, a time for every token', () => {
  itMatchesDiffusers({ folder: 'models/ltx2_3', cases: ['io'] });
});
