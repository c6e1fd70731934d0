import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';

describe('FluxTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/flux' });
});
