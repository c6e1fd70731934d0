/** Keys and values of other groups: block after block round a ring, or all at once. Scores and sums are in float32. */
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { dims, sizeOf } from '../../../tensor/tensor.ts';
import { exchange, gatherAxis, unpack } from '../exchanges.ts';
import type { Dealt } from '../layout.ts';
import type { Partition } from '../partition.ts';
import { type BiasOptions, biasPart } from './bias.ts';
import { groupSegments } from './ulysses.ts';

export interface RingOptions {
  /** [B, tokens of the group, heads · d]. */
  query: SymbolicTensor;
  key: SymbolicTensor;
  value: SymbolicTensor;
  heads: number;
  scale: number | undefined;
  bias: BiasOptions | undefined;
  /** Tokens of keys and values. */
  keys: Dealt;
}

/** A result of attention to some of the keys, and the logarithm of what its weights add up to: [B, heads, S, d] and [B, heads, S, 1]. */
interface Attended {
  values: SymbolicTensor;
  logSum: SymbolicTensor;
}

export function ringAttention(p: Partition, options: RingOptions): SymbolicTensor {
  const { query, heads, keys, bias } = options;
  const { ring } = p.mesh.size;
  const rank = p.place.ring;
  const scale = options.scale ?? 1 / Math.sqrt(query.dim(2) / heads);
  const turned = byHead(query, heads).mul(scale);
  let { key, value } = options;
  let merged: Attended | undefined;
  for (let step = 0; step < ring; step++) {
    const block = (rank - step + ring) % ring;
    // The next block is asked for before this one is computed with.
    const next = step + 1 < ring ? pass(p, { key, value, keys, block: (block - 1 + ring) % ring }) : undefined;
    const scores = turned.matmul(byHead(key, heads).transpose([0, 1, 3, 2]));
    const attended = attend(bias ? scores.add(biasPart(bias, { keys: block })) : scores, byHead(value, heads));
    merged = merged ? merge(merged, attended) : attended;
    if (next) ({ key, value } = next);
  }
  const { values } = merged!;
  return values.transpose([0, 2, 1, 3]).reshape([query.dim(0), query.dim(1), value.dim(2)]);
}

/** Sends a block on to the next rank of the ring, and gets the one before it. */
function pass(
  p: Partition,
  { key, value, keys, block }: { key: SymbolicTensor; value: SymbolicTensor; keys: Dealt; block: number },
): { key: SymbolicTensor; value: SymbolicTensor } {
  const { ring } = p.mesh.size;
  const tokens = groupSegments(p, keys, block)
    .flat()
    .reduce((a, b) => a + b, 0);
  const shapes = [key, value].map((x) => [x.dim(0), tokens, x.dim(2)]);
  const received = exchange(concat([key.reshape([-1]), value.reshape([-1])], 0), {
    group: 'ring',
    to: (p.place.ring + 1) % ring,
    from: (p.place.ring - 1 + ring) % ring,
    count: shapes.reduce((sum, shape) => sum + sizeOf(shape), 0),
  });
  const [nextKey, nextValue] = unpack(received, shapes);
  return { key: nextKey!, value: nextValue! };
}

function byHead(x: SymbolicTensor, heads: number): SymbolicTensor {
  const [batch, length, width] = dims(x, 3);
  return x.reshape([batch, length, heads, width / heads]).transpose([0, 2, 1, 3]);
}

/** The largest weight is e^(largest score) over the sum, so that the sum's logarithm follows from two maxima, which never overflow. */
function attend(scores: SymbolicTensor, value: SymbolicTensor): Attended {
  const weights = scores.softmax();
  return { values: weights.matmul(value), logSum: scores.max().sub(log(weights.max())) };
}

/** Attention to the keys of both. */
function merge(a: Attended, b: Attended): Attended {
  const ahead = b.logSum.sub(a.logSum);
  return {
    values: a.values.sub(ahead.sigmoid().mul(a.values.sub(b.values))),
    logSum: a.logSum.add(softplus(ahead)),
  };
}

const log = (x: SymbolicTensor): SymbolicTensor => x.graph.emit('Log', x, { inputs: [x] });

/** log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|). */
const softplus = (x: SymbolicTensor): SymbolicTensor => x.relu().add(log(x.abs().neg().exp().add(1)));

/** The tokens of all groups, in the model's order, of tensors [B, tokens of the group, C]. */
export function gatherBlocks(p: Partition, tensors: readonly SymbolicTensor[], tokens: Dealt): SymbolicTensor[] {
  const { ring } = p.mesh.size;
  const blocks = Array.from({ length: ring }, (_, i) => groupSegments(p, tokens, i));
  const segments = tokens.segments.map((_, s) => blocks.map((block) => block[s]!.reduce((a, b) => a + b, 0)));
  return tensors.map((x) => gatherAxis(x, { axis: 1, dealt: { over: 'ring', segments }, mesh: p.mesh }));
}
