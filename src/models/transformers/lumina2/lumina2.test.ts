import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';

describe('Lumina2Transformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/lumina2' });
});

describe('Lumina2Transformer2DModel: captions of different and of equal lengths', () => {
  itMatchesDiffusers({ folder: 'models/lumina2_ragged', cases: ['io', 'io_equal'] });
});
