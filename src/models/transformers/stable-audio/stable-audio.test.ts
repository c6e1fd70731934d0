import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('StableAudioDiTModel', () => {
  itMatchesDiffusers({ folder: 'models/stable_audio' });

  itRefuses({
    folder: 'models/stable_audio',
    inputs: [
      [{ rotary_embedding: [zeros([3, 8]), zeros([3, 8])] }, 'rotary_embedding.0: shape [3,8], expected'],
      [{ attention_mask: zeros([1, 4]) }, 'attention_mask: unknown input'],
    ],
  });
});
