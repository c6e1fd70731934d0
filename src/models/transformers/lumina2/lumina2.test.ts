import { describe } from 'vitest';
import { Tensor } from '../../../tensor/tensor.ts';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('Lumina2Transformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/lumina2' });

  itRefuses({
    folder: 'models/lumina2',
    inputs: [
      [{ encoder_attention_mask: undefined }, 'encoder_attention_mask: missing input, expected [batch, text_tokens]'],
      [
        { encoder_attention_mask: new Tensor('bool', Uint8Array.of(0, 1, 1, 1, 1, 1, 1), [1, 7]) },
        'encoder_attention_mask: sample 0 has padding before text, expected it at the end',
      ],
      [{ hidden_states: zeros([1, 4, 12, 7]) }, 'expected spatial sizes that are multiples of the patch size [2,2]'],
    ],
    configs: [[{ hidden_size: '32' }, `'hidden_size' is "32", expected an integer`]],
  });
});

describe('Lumina2Transformer2DModel: captions of different and of equal lengths', () => {
  itMatchesDiffusers({ folder: 'models/lumina2_ragged', cases: ['io', 'io_equal'] });
});
