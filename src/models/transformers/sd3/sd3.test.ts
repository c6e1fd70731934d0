import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Tensor } from '../../../tensor/tensor.ts';
import { AutoModel } from '../../auto-model.ts';
import { fixtures, readGolden, relativeError } from '../../testing/golden.ts';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('SD3Transformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/sd3' });

  it('adds the samples of a ControlNet to its blocks', async () => {
    const { inputs, tensors } = await readGolden('models/sd3', 'io_control');
    await using model = await AutoModel.fromPretrained(path.join(fixtures, 'models/sd3'));
    const { sample } = await model.forward(inputs);
    expect(relativeError(sample as Tensor, tensors.output!)).toBeLessThan(1e-5);
  });

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
