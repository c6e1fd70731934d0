import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';

describe('SD3Transformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/sd3' });
});
