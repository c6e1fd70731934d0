import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('ChromaTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/chroma' });

  itRefuses({
    folder: 'models/chroma',
    inputs: [
      [{ encoder_hidden_states: undefined }, 'encoder_hidden_states: missing input, expected [batch, text_tokens, 24]'],
      [{ img_ids: zeros([24, 2]) }, 'img_ids: shape [24,2], expected [image_tokens=24, 3]'],
      [{ timestep: zeros([2]) }, 'timestep: shape [2], expected [batch=1]'],
      [
        { attention_mask: zeros([1, 7]) },
        'attention_mask: shape [1,7], expected [batch, 31]: text and image tokens together',
      ],
      [{ guidance: zeros([1]) }, 'guidance: unknown input'],
    ],
    configs: [[{ patch_size: 2 }, 'patch_size = 2 (only 1 is)']],
  });
});
