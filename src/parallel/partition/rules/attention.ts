/**
 * Softmax attention on parts. Heads that are dealt out over `tensor` stay with their ranks. Tokens that are dealt out over `sequence` change
 * places with heads within an Ulysses group (arXiv 2309.14509), so that each rank attends for its heads among all tokens of its
 * group; keys and values of the other groups come round a ring (arXiv 2310.01889), and the results are merged by their log-sum-exps.
 */
import type { GraphNode } from '../../../graph/graph.ts';
import { gather } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { type Dealt, evenly, type Layout, withAxis } from '../layout.ts';
import type { Partition } from '../partition.ts';
import { type BiasOptions, biasPart } from '../sequence/bias.ts';
import { gatherBlocks, ringAttention } from '../sequence/ring.ts';
import { type HeadShares, toHeads, toTokens } from '../sequence/ulysses.ts';
import { takeBroadcast } from './elementwise.ts';
import type { Rule } from './rules.ts';

export const rotaryRule: Rule = (p, node) => {
  const [x, cos, sin] = node.inputs as [string, string, string];
  const { shape } = node.specs[0]!;
  const heads = node.attributes['num_heads'] as number;
  const layout = byHeads(p.layoutOf(x), shape[2]! / heads);
  const tables = [cos, sin].map((name) => p.take(name, [layout[0], layout[1], undefined]));
  const local = (heads * p.local(shape, layout)[2]!) / shape[2]!;
  p.emit(node, { inputs: [p.take(x, layout), ...tables], layouts: [layout], attributes: { num_heads: local } });
};

/** Channels stay in parts if these are whole heads. */
function byHeads(layout: Layout, headDim: number): Layout {
  const last = layout.length - 1;
  const channels = layout[last];
  const fits = channels?.segments.length === 1 && channels.segments[0]!.every((size) => size % headDim === 0);
  return fits ? layout : withAxis(layout, last, undefined);
}

export const attentionRule: Rule = (p, node) => {
  const [query, keys, values] = node.inputs as [string, string, string];
  const heads = node.attributes['num_heads'] as number;
  const sources = [query, ...[keys, values].map((name) => p.picked.get(name)?.from ?? name)] as [
    string,
    string,
    string,
  ];
  const width = (i: number) => p.shapeOf(sources[i]!)[2]! / heads;
  const perHead: [number, number, number] = [width(0), width(1), width(2)];
  const batch = sources.map((name) => p.layoutOf(name)[0]).find((dealt) => dealt);
  const channels = sources.map((name, i) =>
    byHeads(p.layoutOf(name), perHead[i]!)[2]?.segments[0]?.map((size) => size / perHead[i]!),
  );
  const shares = channels.find((found) => found !== undefined);
  const layoutOf = (i: number): Layout => [
    batch,
    // Values belong to keys.
    p.layoutOf(sources[Math.min(i, 1)]!)[1],
    shares && { over: 'tensor', segments: [shares.map((share) => share * perHead[i]!)] },
  ];
  const own = layoutOf(0);
  const others = layoutOf(1);
  const local = shares ? shares[p.place.tensor]! : heads;
  const firstHead = shares ? shares.slice(0, p.place.tensor).reduce((a, b) => a + b, 0) : 0;
  const output = (tokens: Dealt | undefined): Layout => [batch, tokens, layoutOf(2)[2]];
  if (own[1] && others[1]) {
    const [q, k, v] = sources.map((name, i) => p.take(name, layoutOf(i))) as [
      SymbolicTensor,
      SymbolicTensor,
      SymbolicTensor,
    ];
    const shared = sequenceParallel(p, node, {
      q,
      k,
      v,
      tokens: [own[1], others[1]],
      perHead,
      heads: local,
      firstHead,
      batch,
    });
    p.define(node.outputs[0]!, output(own[1]), shared);
    return;
  }
  const take = (name: string, i: number): SymbolicTensor => {
    const picked = p.picked.get(name);
    const x = p.take(sources[i]!, withAxis(layoutOf(i), 1, i === 0 ? own[1] : undefined));
    return picked ? gather(x, p.take(picked.indices, [undefined]), 1) : x;
  };
  const inputs: (SymbolicTensor | undefined)[] = [query, keys, values].map(take);
  const bias = node.inputs[5];
  if (bias) {
    const shape = [p.shapeOf(query)[0]!, heads, p.shapeOf(query)[1]!, p.shapeOf(keys)[1]!];
    const byHead: Dealt | undefined = shares && { over: 'tensor', segments: [shares] };
    inputs.push(undefined, undefined, takeBroadcast(p, bias, { shape, layout: [batch, byHead, own[1], undefined] }));
  }
  p.emit(node, { inputs, layouts: [output(own[1])], attributes: { num_heads: local } });
};

interface SequenceOptions {
  q: SymbolicTensor;
  k: SymbolicTensor;
  v: SymbolicTensor;
  /** Of queries, and of keys and values. */
  tokens: readonly [Dealt, Dealt];
  /** Channels of a head of each. */
  perHead: [number, number, number];
  /** Those of this rank of `tensor`, and the first of them. */
  heads: number;
  firstHead: number;
  batch: Dealt | undefined;
}

function sequenceParallel(p: Partition, node: GraphNode, options: SequenceOptions): SymbolicTensor {
  const { q, tokens, perHead, heads, firstHead, batch } = options;
  const { ring, ulysses } = p.mesh.size;
  const shares: HeadShares = { p, heads: evenly(heads, { parts: ulysses }) };
  const own = shares.heads[p.place.ulysses]!;
  const blocks = toHeads(shares, options);
  const attended = own === 0 ? undefined : attendTo(blocks!);
  return toTokens(shares, { attended, tokens: tokens[0], perHead: perHead[2], like: q });

  function attendTo([query, key, value]: [SymbolicTensor, SymbolicTensor, SymbolicTensor]): SymbolicTensor {
    const before = shares.heads.slice(0, p.place.ulysses).reduce((a, b) => a + b, 0);
    const bias: BiasOptions | undefined = node.inputs[5]
      ? { p, name: node.inputs[5], heads: { from: firstHead + before, count: own }, tokens, batch }
      : undefined;
    const indices = p.picked.get(node.inputs[1]!)?.indices;
    const scale = node.attributes['scale'] as { float: number } | undefined;
    if (ring > 1 && indices === undefined)
      return ringAttention(p, { query, key, value, heads: own, scale: scale?.float, bias, keys: tokens[1] });
    // Which keys are picked is known only when all are there.
    const [allKeys, allValues] = ring > 1 ? gatherBlocks(p, [key, value], tokens[1]) : [key, value];
    const pick = (x: SymbolicTensor) => (indices === undefined ? x : gather(x, p.take(indices, [undefined]), 1));
    const [k, v] = [pick(allKeys!), pick(allValues!)];
    const inputs: (SymbolicTensor | undefined)[] = [query, k, v];
    if (bias) inputs.push(undefined, undefined, biasPart(bias, { keys: undefined }));
    return p.builder.emit(
      node.op,
      { dtype: query.dtype, shape: [query.dim(0), query.dim(1), v.dim(2)] },
      { inputs, attributes: { ...node.attributes, num_heads: own }, domain: 'com.microsoft' },
    );
  }
}
