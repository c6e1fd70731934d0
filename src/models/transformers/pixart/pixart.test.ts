import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';

describe('PixArtTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/pixart' });
});

describe('PixArtTransformer2DModel: PixArt-α with size conditions, broken masks', () => {
  itMatchesDiffusers({ folder: 'models/pixart_alpha', cases: ['io'] });
});

describe('PixArtTransformer2DModel: no caption projection', () => {
  itMatchesDiffusers({ folder: 'models/pixart_unprojected', cases: ['io'] });
});
