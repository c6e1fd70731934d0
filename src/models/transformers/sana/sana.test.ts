import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';

describe('SanaTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/sana' });
});
