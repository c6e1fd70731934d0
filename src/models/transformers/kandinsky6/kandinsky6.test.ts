import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('Kandinsky6Transformer3DModel', () => {
  itMatchesDiffusers({ folder: 'models/kandinsky6', cases: ['io', 'io_noaudio'] });

  itRefuses({
    folder: 'models/kandinsky6',
    inputs: [
      [{ hidden_states: zeros([1, 2, 3, 6, 9]) }, 'spatial sizes that are multiples of the patch size [1,2,2]'],
      [{ visual_rope_pos: [] }, 'visual_rope_pos: expected three tensors of 2, 2, 3 positions'],
      [{ visual_token_type_ids: zeros([1, 2]) }, 'visual_token_type_ids: unknown input'],
    ],
    configs: [[{ model_dim_a: 30 }, "'model_dim_a' is 30, expected a multiple of the head's 16"]],
  });
});
