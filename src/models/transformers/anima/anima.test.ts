import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('AnimaTextConditioner', () => {
  itMatchesDiffusers({ folder: 'models/anima_text_conditioner' });

  itRefuses({
    folder: 'models/anima_text_conditioner',
    inputs: [[{ source_hidden_states: zeros([1, 2, 3]) }, 'source_hidden_states: shape [1,2,3], expected']],
  });
});
