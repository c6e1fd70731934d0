import { describe } from 'vitest';
import { itMatchesDiffusers } from '../../testing/parity.ts';
import { itRefuses, zeros } from '../../testing/refusals.ts';

describe('Kandinsky5Transformer3DModel', () => {
  // Rounding to bfloat16 within attention turns last digits into third ones now and then.
  itMatchesDiffusers({ folder: 'models/kandinsky5', cases: ['io'], tolerance: 5e-4 });

  itRefuses({
    folder: 'models/kandinsky5',
    inputs: [
      [{ visual_rope_pos: [zeros([1])] }, 'visual_rope_pos: expected three tensors of'],
      [{ scale_factor: [1, 0, 1] }, 'scale_factor: expected three numbers above 0'],
      [{ sparse_params: { P: 0.9 } }, 'sparse_params: unknown input'],
    ],
    configs: [
      [{ attention_type: 'nabla' }, 'attention_type = "nabla" (only "regular" is)'],
      [{ model_dim: 30 }, "'model_dim' is 30, expected a multiple of the head's 16"],
    ],
  });
});
