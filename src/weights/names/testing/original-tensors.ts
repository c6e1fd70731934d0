/** Test support: a checkpoint under the names of Diffusers as its first release had it, which is a table read backwards. */
import { cut, join } from '../../../tensor/slices.ts';
import { sizeOf, Tensor } from '../../../tensor/tensor.ts';
import { type CutModule, fill, leaves, type NameTable, patternOf } from '../name-table.ts';

type Tensors = Readonly<Record<string, Tensor>>;

/** @param tensors in float32 */
export function originalTensors(tensors: Tensors, table: NameTable): Record<string, Tensor> {
  const left = new Set(Object.keys(tensors));
  const result: Record<string, Tensor> = {};
  for (const [original, place] of Object.entries(table)) {
    const targets = typeof place === 'string' ? [place] : place.into;
    const found = new Map<string, Tensor[]>();
    for (const [index, target] of targets.entries()) {
      const pattern = patternOf(target, `(?:\\.(${leaves}))?`);
      for (const name of left) {
        const match = pattern.exec(name);
        if (!match) continue;
        const ending = match.at(-1);
        const key = fill(original, match.slice(1, -1)) + (ending === undefined ? '' : `.${ending}`);
        const parts = found.get(key) ?? [];
        parts[index] = tensors[name]!;
        found.set(key, parts);
        left.delete(name);
      }
    }
    for (const [key, parts] of found) {
      const weights = found.get(key.replace(/[^.]+$/, 'weight')) ?? parts;
      result[key] = typeof place === 'string' ? parts[0]! : fused(parts, place, sizeOf(weights[0]!.shape.slice(1)));
    }
  }
  for (const name of left) result[name] = tensors[name]!;
  return result;
}

function fused(parts: readonly Tensor[], module: CutModule, inner: number): Tensor {
  const whole = join(parts, 0);
  const rows = module.rows(whole.dim(0), inner).flat();
  // Where each of the parts' rows was.
  let end = 0;
  const pieces = rows.map(([from, to]) => {
    const start = end;
    end += to - from;
    return { from, tensor: cut(whole, { axis: 0, from: start, to: end }) };
  });
  const sorted = pieces.toSorted((a, b) => a.from - b.from).map(({ tensor }) => tensor);
  const { data, shape } = join(sorted, 0);
  const kernel = module.isMatrix && shape.length === 2 ? [1, 1] : [];
  return new Tensor('float32', data, [...shape, ...kernel]);
}
