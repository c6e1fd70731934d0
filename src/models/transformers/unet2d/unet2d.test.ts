import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe.each([
  ['Stable Diffusion 1: convolutions around attention', 'unet2d'],
  ['a latent consistency model, on latents with an odd edge', 'unet_lcm'],
  ['SDXL: pooled text and sizes', 'unet_sdxl'],
])('UNet2DConditionModel: %s', (_, folder) => {
  itMatchesDiffusers({ folder: `models/${folder}`, cases: ['io'] });
});

describe('UNet2DConditionModel', () => {
  itRefuses({
    folder: 'models/unet_sdxl',
    inputs: [
      [{ encoder_hidden_states: zeros([2, 6, 21]) }, 'encoder_hidden_states: shape [2,6,21], expected [batch=2'],
      [
        { added_cond_kwargs: { text_embeds: zeros([2, 12]) } },
        'added_cond_kwargs.time_ids: missing input, expected [2, 6]',
      ],
    ],
    configs: [
      [{ down_block_types: ['DownBlock2D'] }, `'down_block_types' has 1 entries for 3 levels`],
      [
        { up_block_types: ['SkipUpBlock2D', 'UpBlock2D', 'UpBlock2D'] },
        `'up_block_types' has 'SkipUpBlock2D', supported are`,
      ],
      [{ encoder_hid_dim: 8 }, 'not supported: encoder_hid_dim = 8'],
    ],
  });
});
