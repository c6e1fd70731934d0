import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('BriaFiboTransformer2DModel', () => {
  // The recorded single blocks are cut in two, text and image.
  itMatchesDiffusers({ folder: 'models/briafibo' });

  itRefuses({
    folder: 'models/briafibo',
    inputs: [
      [
        { text_encoder_layers: [zeros([1, 7, 12])] },
        'text_encoder_layers: 1 states, expected one for each of 4 blocks',
      ],
      [
        { joint_attention_kwargs: { attention_mask: zeros([1, 31]) } },
        'joint_attention_kwargs.attention_mask: shape [1,31]',
      ],
      [{ joint_attention_kwargs: { scale: 1 } }, "joint_attention_kwargs.scale: only 'attention_mask' is"],
    ],
  });
});
