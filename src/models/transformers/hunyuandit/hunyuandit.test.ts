import { describe } from 'vitest';
import { intTensor } from '../../../tensor/tensor.ts';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('HunyuanDiT2DModel', () => {
  itMatchesDiffusers({ folder: 'models/hunyuandit' });

  itRefuses({
    folder: 'models/hunyuandit',
    inputs: [
      [
        { encoder_hidden_states_t5: zeros([1, 8, 16]) },
        'encoder_hidden_states_t5: shape [1,8,16], expected [batch=1, 9, 16]',
      ],
      [{ style: intTensor([0]) }, 'style: unknown input'],
      [{ controlnet_block_samples: [zeros([1])] }, 'controlnet_block_samples: unknown input'],
    ],
    configs: [[{ norm_type: 'ada_norm' }, 'norm_type = "ada_norm" (only "layer_norm" is)']],
  });

  describe('with picture sizes and style (1.1)', () => {
    itMatchesDiffusers({ folder: 'models/hunyuandit_v11', cases: ['io'] });

    itRefuses({
      folder: 'models/hunyuandit_v11',
      inputs: [[{ style: intTensor([0, 1]) }, 'style: the model knows one style only, 0']],
    });
  });
});
