import { describe } from 'vitest';
import { intTensor } from '../../../tensor/tensor.ts';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('DiTTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/dit' });

  itRefuses({
    folder: 'models/dit',
    inputs: [
      [{ class_labels: undefined }, 'class_labels: missing input, expected [batch]'],
      [{ class_labels: intTensor([11]) }, 'class_labels: label 11, expected 0 to 10 (10: no class)'],
      [{ hidden_states: zeros([4, 8, 8]) }, 'hidden_states: shape [4,8,8], expected [batch, 4, size, size]'],
      [{ hidden_states: zeros([1, 4, 8, 6]) }, 'hidden_states: shape [1,4,8,6], expected [batch=1, 4, size=8, size=8]'],
      [{ hidden_states: zeros([1, 4, 7, 7]) }, 'expected spatial sizes that are multiples of the patch size [2,2]'],
    ],
    configs: [
      [{ norm_type: 'layer_norm' }, 'norm_type = "layer_norm" (only "ada_norm_zero" is)'],
      [{ norm_elementwise_affine: true }, 'norm_elementwise_affine = true (only false is)'],
      [{ activation_fn: 'relu' }, '\'activation_fn\' is "relu", expected one of gelu-approximate, gelu, geglu'],
    ],
  });
});

describe('DiTTransformer2DModel: a larger latent, GEGLU and the null class', () => {
  itMatchesDiffusers({ folder: 'models/dit_stretched', cases: ['io'] });
});
