import { describe } from 'vitest';
import { intTensor } from '../../../tensor/tensor.ts';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('HunyuanVideoTransformer3DModel', () => {
  itMatchesDiffusers({ folder: 'models/hunyuanvideo' });

  itRefuses({
    folder: 'models/hunyuanvideo',
    inputs: [
      [{ encoder_attention_mask: undefined }, 'encoder_attention_mask: missing input, expected [batch, text_tokens]'],
      [{ encoder_attention_mask: zeros([1, 7]) }, 'encoder_attention_mask: sample 0 keeps no token'],
      [
        { encoder_attention_mask: intTensor([1, 1], [1, 2]) },
        'encoder_attention_mask: shape [1,2], expected [batch=1, text_tokens=7]',
      ],
      [
        { hidden_states: zeros([1, 4, 1, 5, 4]) },
        'hidden_states: shape [1,4,1,5,4], expected spatial sizes that are multiples',
      ],
      [{ pooled_projections: zeros([20]) }, 'pooled_projections: shape [20], expected [batch=1, 20]'],
      [{ guidance: undefined }, 'guidance: missing input, expected [batch]'],
    ],
    configs: [
      [{ qk_norm: 'layer_norm' }, 'qk_norm = "layer_norm" (only "rms_norm" is)'],
      [{ image_condition_type: 'first_frame' }, '\'image_condition_type\' is "first_frame", expected one of'],
    ],
  });

  describe('with a given first frame', () => {
    itMatchesDiffusers({ folder: 'models/hunyuanvideo_i2v', cases: ['io'] });
  });
});
