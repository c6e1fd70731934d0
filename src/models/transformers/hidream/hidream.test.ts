import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('HiDreamImageTransformer2DModel', () => {
  // The recorded blocks are cut to what the next block reads: without the text's tail.
  itMatchesDiffusers({ folder: 'models/hidream' });

  itRefuses({
    folder: 'models/hidream',
    inputs: [
      [
        { encoder_hidden_states_llama3: zeros([2, 1, 7, 24]) },
        "encoder_hidden_states_llama3: 2 states, but 'llama_layers' asks for number 2",
      ],
      [{ hidden_states: zeros([1, 4, 16, 12]) }, 'hidden_states: 48 tokens of an image that is not square, at most 36'],
      [{ img_ids: zeros([1, 24, 3]) }, 'img_ids: unknown input'],
    ],
    configs: [
      [{ llama_layers: [0, 1, 2] }, "'llama_layers' has 3 entries for 2 blocks"],
      [{ caption_channels: [20] }, "'caption_channels' is [20], expected two integers"],
    ],
  });
});
