import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('SD3Transformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/sd3' });

  itRefuses({
    folder: 'models/sd3',
    inputs: [
      [{ pooled_projections: undefined }, 'pooled_projections: missing input, expected [batch, 20]'],
      [
        { hidden_states: zeros([1, 4, 26, 8]) },
        "hidden_states: shape [1,4,26,8], this model's position table covers [24,24] latent pixels at most",
      ],
      [{ pooled_projection: zeros([1, 20]) }, 'pooled_projection: unknown input; did you mean pooled_projections?'],
    ],
    configs: [
      [{ qk_norm: 'layer_norm' }, `'qk_norm' is "layer_norm", expected one of rms_norm`],
      [{ caption_projection_dim: 48 }, 'caption_projection_dim = 48 (only 32 is)'],
    ],
  });
});

describe('SD3Transformer2DModel: SD 3.0 without dual attention and norms', () => {
  itMatchesDiffusers({ folder: 'models/sd3_plain', cases: ['io'] });
});
