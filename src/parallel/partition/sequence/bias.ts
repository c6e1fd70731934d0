/** Additive biases of attention scores [B or 1, heads or 1, S or 1, T or 1], cut to what a rank scores. */
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import type { Range } from '../../../tensor/selection.ts';
import { sliceAxis } from '../exchanges.ts';
import type { Dealt } from '../layout.ts';
import type { Partition } from '../partition.ts';

export interface BiasOptions {
  p: Partition;
  name: string;
  /** Of all heads of the model, those of this rank. */
  heads: { from: number; count: number };
  /** Of queries, and of keys. */
  tokens: readonly [Dealt, Dealt];
  batch: Dealt | undefined;
}

/** @param keys the ring's rank whose keys are scored; undefined: all keys */
export function biasPart(
  { p, name, heads, tokens, batch }: BiasOptions,
  { keys }: { keys: number | undefined },
): SymbolicTensor {
  const shape = p.shapeOf(name);
  let bias = p.take(name, [shape[0] === 1 ? undefined : batch, undefined, undefined, undefined]);
  if (shape[1] !== 1) bias = bias.slice(1, heads.from, heads.from + heads.count);
  if (shape[2] !== 1) bias = sliceAxis(bias, 2, blockRanges(p, tokens[0], p.place.ring));
  if (shape[3] !== 1 && keys !== undefined) bias = sliceAxis(bias, 3, blockRanges(p, tokens[1], keys));
  return bias;
}

/** Where the tokens of an Ulysses group lie among all. */
function blockRanges(p: Partition, { segments }: Dealt, ring: number): Range[] {
  const { ulysses } = p.mesh.size;
  let start = 0;
  return segments.flatMap((parts) => {
    const sum = (to: number) => parts.slice(0, to).reduce((a, b) => a + b, 0);
    const range = { from: start + sum(ring * ulysses), to: start + sum((ring + 1) * ulysses) };
    start += sum(parts.length);
    return range.to > range.from ? [range] : [];
  });
}
