/** How much memory a run of a graph takes for the values that its operators make, beside inputs and weights. */
import { bytesPerElement } from '../tensor/dtype.ts';
import { sizeOf } from '../tensor/tensor.ts';
import type { Graph, ValueSpec } from './graph.ts';

const bytesOf = ({ dtype, shape }: ValueSpec): number => Math.ceil(sizeOf(shape) * bytesPerElement(dtype));

/** The most that is alive at once if operators run in order and every value is freed after its last use. */
export function peakBytes({ nodes, outputs }: Graph): number {
  const lastUse = new Map<string, number>();
  for (const [i, { inputs }] of nodes.entries()) for (const input of inputs) lastUse.set(input, i);
  for (const { value } of outputs.values()) lastUse.set(value, nodes.length);
  const made = new Map<string, number>();
  let alive = 0;
  let peak = 0;
  for (const [i, { inputs, outputs: names, specs }] of nodes.entries()) {
    for (const [at, name] of names.entries()) {
      const bytes = bytesOf(specs[at]!);
      made.set(name, bytes);
      alive += bytes;
    }
    peak = Math.max(peak, alive);
    for (const name of new Set([...inputs, ...names])) {
      if ((lastUse.get(name) ?? i) > i) continue;
      alive -= made.get(name) ?? 0;
      made.delete(name);
    }
  }
  return peak;
}
