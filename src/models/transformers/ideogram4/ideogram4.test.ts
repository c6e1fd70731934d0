import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('Ideogram4Transformer2DModel', () => {
  itMatchesDiffusers({ folder: 'models/ideogram4' });

  itRefuses({
    folder: 'models/ideogram4',
    inputs: [[{ hidden_states: zeros([1, 31, 9]) }, 'hidden_states: shape [1,31,9], expected [batch=1, tokens=31, 8]']],
    configs: [[{ mrope_section: 'many' }, `'mrope_section' is "many"`]],
  });
});
