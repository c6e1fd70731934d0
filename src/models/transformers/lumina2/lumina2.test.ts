import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';

describe('Lumina2Transformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/lumina2' });
});
