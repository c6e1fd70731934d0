import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('HunyuanVideo15Transformer3DModel', () => {
  itMatchesDiffusers({ folder: 'models/hunyuanvideo15', cases: ['io', 'io_b2', 'io_t2v'] });

  itRefuses({
    folder: 'models/hunyuanvideo15',
    inputs: [[{ encoder_attention_mask: zeros([1, 7]) }, 'encoder_attention_mask: sample 0 keeps no token']],
    configs: [[{ qk_norm: 'layer_norm' }, 'qk_norm = "layer_norm" (only "rms_norm" is)']],
  });
});
