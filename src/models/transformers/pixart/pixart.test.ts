import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('PixArtTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/pixart' });

  itRefuses({
    folder: 'models/pixart',
    inputs: [
      [{ encoder_hidden_states: undefined }, 'encoder_hidden_states: missing input, expected [batch, text_tokens, 24]'],
      [
        { encoder_hidden_states: zeros([1, 7, 25]) },
        'encoder_hidden_states: shape [1,7,25], expected [batch=1, text_tokens=7, 24]',
      ],
      [
        { encoder_attention_mask: zeros([1, 6]) },
        'encoder_attention_mask: shape [1,6], expected [batch=1, text_tokens=7]',
      ],
      [{ timestep: zeros([2]) }, 'timestep: shape [2], expected [batch=1]'],
    ],
    configs: [
      [{ attention_type: 'gated' }, 'attention_type = "gated" (only "default" is)'],
      [{ cross_attention_dim: 'wide' }, `'cross_attention_dim' is "wide", expected an integer`],
    ],
  });
});

describe('PixArtTransformer2DModel: PixArt-α with size conditions, broken masks', () => {
  itMatchesDiffusers({ folder: 'models/pixart_alpha', cases: ['io'] });
  itRefuses({
    folder: 'models/pixart_alpha',
    inputs: [
      [{ added_cond_kwargs: undefined }, 'added_cond_kwargs: missing input'],
      [
        { added_cond_kwargs: { resolution: zeros([2, 2]) } },
        'added_cond_kwargs.aspect_ratio: missing input, expected [2, 1]',
      ],
    ],
  });
});

describe('PixArtTransformer2DModel: no caption projection', () => {
  itMatchesDiffusers({ folder: 'models/pixart_unprojected', cases: ['io'] });
});
