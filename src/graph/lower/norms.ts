/** Norms for devices that take one scale and one bias for all tokens: those that differ are multiplied and added afterwards. */
import { sizeOf } from '../../tensor/tensor.ts';
import { layerNormalization } from '../ops.ts';
import { floatAttribute, type Rewriting } from '../rewrite.ts';
import type { SymbolicTensor } from '../symbolic.ts';

/** Undefined if scale and bias have the last axis only. */
export function affineFreeNorm({ node, inputs }: Rewriting): SymbolicTensor[] | undefined {
  const [x, scale, bias] = inputs as [SymbolicTensor, SymbolicTensor, SymbolicTensor | undefined];
  if ([scale, bias].every((affine) => !affine || sizeOf(affine.shape) === x.dim(-1))) return undefined;
  const scaled = layerNormalization(x, { epsilon: floatAttribute(node, 'epsilon')! }).mul(scale);
  return [bias ? scaled.add(bias) : scaled];
}
