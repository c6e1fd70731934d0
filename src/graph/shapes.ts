/** Shape arithmetic that several operators share. */
import type { Shape } from '../tensor/tensor.ts';
import type { SymbolicTensor } from './symbolic.ts';

/** The common shape of two operands under numpy's rules, or undefined where they do not fit. */
export function broadcastShapes(a: Shape, b: Shape): number[] | undefined {
  const rank = Math.max(a.length, b.length);
  const shape: number[] = [];
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) return undefined;
    shape.push(x === 1 ? y : x);
  }
  return shape;
}

/** A non-negative axis; fails with the module path where there is no such axis. */
export function normalizeAxis(tensor: SymbolicTensor, axis: number): number {
  const at = axis < 0 ? axis + tensor.rank : axis;
  if (!(at in tensor.shape)) tensor.graph.fail(`[${tensor.shape}] has no axis ${axis}`);
  return at;
}
