import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';

describe('DiTTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/dit' });
});

describe('DiTTransformer2DModel: a larger latent, GEGLU and the null class', () => {
  itMatchesDiffusers({ folder: 'models/dit_stretched', cases: ['io'] });
});
