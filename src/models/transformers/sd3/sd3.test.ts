import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';

describe('SD3Transformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/sd3' });
});

describe('SD3Transformer2DModel: SD 3.0 without dual attention and norms', () => {
  itMatchesDiffusers({ folder: 'models/sd3_plain', cases: ['io'] });
});
