import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('CogVideoXTransformer3DModel', () => {
  itMatchesDiffusers({ folder: 'models/cogvideox' });

  itRefuses({
    folder: 'models/cogvideox',
    inputs: [
      [
        { hidden_states: zeros([1, 3, 4, 8, 11]) },
        'expected spatial sizes that are multiples of the patch size [1,2,2]',
      ],
      [{ image_rotary_emb: [zeros([72, 16])] }, 'image_rotary_emb: expected a list of two tensors [72,16]'],
      [{ image_rotary_emb: [zeros([72, 16]), zeros([72, 8])] }, 'image_rotary_emb.1: shape [72,8], expected [72,16]'],
      [{ ofs: zeros([1]) }, 'ofs: unknown input'],
    ],
    configs: [
      [{ timestep_activation_fn: 'gelu' }, 'timestep_activation_fn = "gelu" (only "silu" is)'],
      [
        { use_rotary_positional_embeddings: false, use_learned_positional_embeddings: true },
        'use_learned_positional_embeddings = true (only false is)',
      ],
    ],
  });

  describe('with fixed positions (2B)', () => {
    itMatchesDiffusers({ folder: 'models/cogvideox_2b', cases: ['io', 'io_other'] });
  });

  describe('1.5, from image to video', () => {
    itMatchesDiffusers({ folder: 'models/cogvideox_15_i2v', cases: ['io'] });
  });
});
