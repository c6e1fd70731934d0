import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';

describe('DiTTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/dit' });
});
