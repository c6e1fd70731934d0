import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';

describe('SanaTransformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/sana' });
});

describe('SanaTransformer2DModel: Sana-Sprint', () => {
  itMatchesDiffusers({ folder: 'models/sana_sprint', cases: ['io'] });
});
