import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';

describe('PixArtTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/pixart' });
});
