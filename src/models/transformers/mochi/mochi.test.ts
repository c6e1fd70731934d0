import { describe } from 'vitest';
import { floatTensor } from '../../../tensor/tensor.ts';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses } from '../../testing/refusals.ts';

describe('MochiTransformer3DModel', () => {
  itMatchesDiffusers({ folder: 'models/mochi' });

  itRefuses({
    folder: 'models/mochi',
    inputs: [
      [
        { encoder_attention_mask: floatTensor([0, 1, 1, 1, 1, 1, 1], [1, 7]) },
        'encoder_attention_mask: sample 0 keeps a token after padding',
      ],
    ],
    configs: [[{ qk_norm: 'layer_norm' }, 'qk_norm = "layer_norm" (only "rms_norm" is)']],
  });
});
