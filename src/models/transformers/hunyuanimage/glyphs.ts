/** How HunyuanImage and HunyuanVideo 1.5 take in words that are to be written, letter by letter from ByT5. */

import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { linear } from '../../../nn/linear.ts';
import { layer } from '../../../nn/module.ts';
import { layerNorm } from '../../../nn/norms.ts';
/** States of ByT5 [B, G, C] → [B, G, D]; the hidden width is the checkpoint's own. */
export const glyphProjection = layer((m, x: SymbolicTensor, width: number): SymbolicTensor => {
  const wide = linear(m.at('linear_1'), layerNorm(m.at('norm'), x, 1e-5), undefined).gelu();
  return linear(m.at('linear_3'), linear(m.at('linear_2'), wide, wide.dim(-1)).gelu(), width);
});
