import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { AutoModel } from '../../auto-model.ts';
import { fixtures, readGolden, relativeError } from '../../testing/golden.ts';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('FluxTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/flux' });

  it('takes positions with an axis for samples, which share them', async () => {
    const { inputs, tensors } = await readGolden('models/flux');
    const batched = (name: string) => tensors[name]!.reshape([1, ...tensors[name]!.shape]);
    await using model = await AutoModel.fromPretrained(path.join(fixtures, 'models/flux'));
    const ids = { img_ids: batched('img_ids'), txt_ids: batched('txt_ids') };
    const { sample } = await model.forward({ ...inputs, ...ids });
    expect(relativeError([sample].flat()[0]!, tensors.output!)).toBeLessThan(1e-4);
  });

  itRefuses({
    folder: 'models/flux',
    inputs: [
      [{ pooled_projections: undefined }, 'pooled_projections: missing input, expected [batch'],
      [{ hidden_states: zeros([1, 4, 4, 4]) }, 'hidden_states: shape [1,4,4,4], expected [batch, image_tokens, '],
      [{ txt_ids: zeros([1, 3]) }, 'txt_ids: shape [1,3], expected [text_tokens='],
      [{ joint_attention_kwargs: {} }, 'joint_attention_kwargs: unknown input'],
    ],
    configs: [[{ patch_size: 2 }, 'patch_size = 2 (only 1 is)']],
  });
});
