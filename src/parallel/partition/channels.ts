/**
 * Which products may leave their results in parts: those of which everything that follows treats each channel, or each head, for itself, up to
 * a product that sums over them. So are queries, keys and values, and the first layers of MLPs, under whatever names. Also in what units
 * they may be cut: heads, and the parts of results that are several in one (gate and value, or queries, keys and values).
 */
import type { GraphNode } from '../../graph/graph.ts';
import { type Dealt, evenly } from './layout.ts';
import type { Partition } from './partition.ts';
import { isElementwise } from './rules/elementwise.ts';

/** A narrowing by more than this is the first of a low-rank pair, which is not worth a sum over ranks. */
const lowRank = 8;

/** A stretch of channels that is cut on its own, and into what at least. */
interface Stretch {
  size: number;
  unit: number;
}

/**
 * @param axis that of the channels; `input`: how many each is made of
 * @returns how they are dealt out to the ranks of `tensor`; undefined if they may not, or are too few
 */
export function channelSegments(
  p: Partition,
  name: string,
  { axis, input }: { axis: number; input: number },
): Dealt | undefined {
  const parts = p.mesh.count('tensor');
  const width = p.shapeOf(name)[axis]!;
  if (parts === 1 || width * lowRank < input) return undefined;
  const stretches = follow(p, name, { axis, grain: 1, width });
  if (!stretches?.every(({ size, unit }) => size % unit === 0 && size / unit >= parts)) return undefined;
  return { over: 'tensor', segments: stretches.map(({ size, unit }) => evenly(size, { parts, unit })) };
}

/** Channels on their way: on which axis they are, and how many of them an element of it stands for. */
interface Trail {
  axis: number;
  grain: number;
  width: number;
}

/** Stretches that all uses of a value agree on; undefined if one of them needs all channels at once. */
function follow(p: Partition, name: string, trail: Trail): Stretch[] | undefined {
  const uses = p.uses.get(name) ?? [];
  if (uses.length === 0 || [...p.graph.outputs.values()].some(({ value }) => value === name)) return undefined;
  let agreed: Stretch[] = [{ size: trail.width, unit: trail.grain }];
  for (const { node, input } of uses) {
    const found = followInto(p, node, { input, trail });
    const merged = found && merge(agreed, found);
    if (!merged) return undefined;
    agreed = merged;
  }
  return agreed;
}

function followInto(
  p: Partition,
  node: GraphNode,
  { input, trail }: { input: number; trail: Trail },
): Stretch[] | undefined {
  const { axis, grain, width } = trail;
  const own = p.shapeOf(node.inputs[input]!);
  const all: Stretch[] = [{ size: width, unit: grain }];
  const [output] = node.outputs as [string];
  const { shape } = node.specs[0]!;
  const isLast = axis === own.length - 1;
  const through = (next: Partial<Trail> = {}) => follow(p, output, { ...trail, ...next });
  if (isElementwise(node)) {
    const at = axis + shape.length - own.length;
    return shape[at] === own[axis] ? through({ axis: at }) : undefined;
  }
  switch (node.op) {
    case 'Gemm':
    case 'DynamicQuantizeMatMul':
      return input === 0 && isLast ? all : undefined;
    case 'MatMul':
      if (input === 0 && isLast && p.isStatic(node.inputs[1]!)) return all;
      return axis < own.length - 2 ? through({ axis: axis + shape.length - own.length }) : undefined;
    case 'Conv':
      if (input !== 0 || axis !== 1) return undefined;
      return node.attributes['group'] === 1
        ? all
        : node.attributes['group'] === own[1] && shape[1] === own[1]
          ? through()
          : undefined;
    case 'ReduceMax':
      return input === 0 ? all : undefined;
    case 'ReduceSum':
      return input === 0 && p.integers(node.inputs[1]!)[0] !== axis && node.attributes['keepdims'] === 1
        ? through()
        : undefined;
    case 'LayerNormalization':
      return input === 0 && !isLast ? through() : undefined;
    case 'RMSNormalization':
      return input === 0 ? through() : undefined;
    case 'RotaryEmbedding':
      return input === 0 ? merged(through(), unitOf(node, own, trail)) : undefined;
    case 'MultiHeadAttention': {
      if (input > 2) return undefined;
      return merged(through({ axis: 2, grain: width / shape[2]! }), unitOf(node, own, trail));
    }
    case 'Transpose':
      return through({ axis: (node.attributes['perm'] as readonly number[]).indexOf(axis) });
    case 'Concat':
      return through();
    case 'Expand': {
      const at = axis + shape.length - own.length;
      return shape[at] === own[axis] ? through({ axis: at }) : undefined;
    }
    case 'Gather':
    case 'Slice': {
      const over = node.op === 'Gather' ? (node.attributes['axis'] as number) : p.integers(node.inputs[3]!)[0];
      return input === 0 && over !== axis && shape.length === own.length ? through() : undefined;
    }
    case 'Split':
      return followSplit(p, node, trail);
    case 'Reshape':
      return followReshape(p, node, trail);
    default:
      return undefined;
  }
}

function followSplit(p: Partition, node: GraphNode, trail: Trail): Stretch[] | undefined {
  const sizes = p.integers(node.inputs[1]!);
  if ((node.attributes['axis'] as number) !== trail.axis) {
    return node.outputs.reduce<Stretch[] | undefined>(
      (agreed, output) => agreed && merged(follow(p, output, trail), agreed),
      [{ size: trail.width, unit: trail.grain }],
    );
  }
  const parts = node.outputs.map((output, i) => {
    if ((p.uses.get(output) ?? []).length === 0) return [{ size: sizes[i]! * trail.grain, unit: trail.grain }];
    return follow(p, output, { ...trail, width: sizes[i]! * trail.grain });
  });
  return parts.every((part) => part !== undefined) ? parts.flat() : undefined;
}

/** Channels may part into heads and their channels, or come together again; other axes must stay apart from them. */
function followReshape(p: Partition, node: GraphNode, trail: Trail): Stretch[] | undefined {
  const [source, target] = [p.shapeOf(node.inputs[0]!), node.specs[0]!.shape];
  const before = source.slice(0, trail.axis).reduce((a, b) => a * b, 1);
  let [at, ahead] = [0, 1];
  while (at < target.length && (ahead < before || target[at] === 1)) ahead *= target[at++]!;
  if (ahead !== before || at === target.length) return undefined;
  const [from, to] = [source[trail.axis]!, target[at]!];
  // Fewer elements on the axis: each stands for more channels. More: those behind it have joined.
  if (from % to === 0) return follow(p, node.outputs[0]!, { ...trail, axis: at, grain: (trail.grain * from) / to });
  if (to % from !== 0) return undefined;
  const joined = follow(p, node.outputs[0]!, { ...trail, axis: at, grain: (trail.grain * from) / to });
  return joined && merged(joined, [{ size: trail.width, unit: trail.grain }]);
}

/** Heads, in channels. */
function unitOf(node: GraphNode, shape: readonly number[], { grain, width }: Trail): Stretch[] {
  const perHead = shape[2]! / (node.attributes['num_heads'] as number);
  // Where heads are repeated, an element stands for less than a channel: their unit is known from before.
  return [{ size: width, unit: grain < 1 ? 1 : perHead * grain }];
}

function merged(a: Stretch[] | undefined, b: Stretch[]): Stretch[] | undefined {
  return a && merge(a, b);
}

/** Stretches that both are cut by; one that is in one piece takes the other's. */
function merge(a: readonly Stretch[], b: readonly Stretch[]): Stretch[] | undefined {
  if (a.length === 1 && b.length > 1) return merge(b, a);
  if (b.length === 1)
    return a.map(({ size, unit }) => ({ size, unit: leastCommonMultiple(unit, Math.min(b[0]!.unit, size)) }));
  if (a.length !== b.length || a.some(({ size }, i) => size !== b[i]!.size)) return undefined;
  return a.map(({ size, unit }, i) => ({ size, unit: leastCommonMultiple(unit, b[i]!.unit) }));
}

function leastCommonMultiple(a: number, b: number): number {
  const [x, y] = [Math.max(1, Math.round(a)), Math.max(1, Math.round(b))];
  let [p, q] = [x, y];
  while (q > 0) [p, q] = [q, p % q];
  return (x * y) / p;
}
