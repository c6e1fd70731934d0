import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('BriaTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/bria' });

  itRefuses({
    folder: 'models/bria',
    inputs: [[{ pooled_projections: zeros([1, 8]) }, 'pooled_projections: unknown input']],
    configs: [[{ guidance_embeds: true }, 'guidance_embeds = true (only false is)']],
  });
});
