import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { intTensor, type Tensor } from '../../../tensor/tensor.ts';
import { AutoModel } from '../../auto-model.ts';
import { fixtures, readGolden, relativeError } from '../../testing/golden.ts';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('QwenImageTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/qwenimage' });

  it('adds the samples of a ControlNet to its blocks', async () => {
    const { inputs, tensors } = await readGolden('models/qwenimage', 'io_control');
    await using model = await AutoModel.fromPretrained(path.join(fixtures, 'models/qwenimage'));
    const { sample } = await model.forward(inputs);
    expect(relativeError(sample as Tensor, tensors.output!)).toBeLessThan(1e-5);
  });

  describe('with several images: clean references, second time condition, layers', () => {
    itMatchesDiffusers({ folder: 'models/qwenimage_layered', cases: ['io'] });
    itRefuses({
      folder: 'models/qwenimage_layered',
      inputs: [
        [{ additional_t_cond: undefined }, 'additional_t_cond: missing input, expected [batch]'],
        [{ additional_t_cond: intTensor([2]) }, 'additional_t_cond: value 2, expected 0 or 1'],
      ],
    });
  });

  itRefuses({
    folder: 'models/qwenimage',
    inputs: [
      [{ timestep: undefined }, 'timestep: missing input, expected [batch]'],
      [{ hidden_states: zeros([24, 4]) }, 'hidden_states: shape [24,4], expected [batch, image_tokens, 16]'],
      [
        { encoder_hidden_states_mask: intTensor([1, 1], [1, 2]) },
        'encoder_hidden_states_mask: shape [1,2], expected [batch=1, text_tokens=7]',
      ],
      [{ img_shapes: 24 }, 'img_shapes: expected a list of [frames, rows, columns] for each of the 1 sample(s)'],
      [{ img_shapes: [[[1, 6, 5]]] }, 'img_shapes: shapes [1,6,5] are 30 tokens, hidden_states has 24'],
      [{ image_shapes: [[[1, 6, 4]]] }, 'image_shapes: unknown input; did you mean img_shapes?'],
    ],
    configs: [
      [{ guidance_embeds: true }, 'guidance_embeds = true (only false is)'],
      [{ num_layers: 'many' }, `'num_layers' is "many", expected an integer`],
    ],
  });
});
