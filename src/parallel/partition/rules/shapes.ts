/** Operators that move elements about. */
import type { GraphNode, ValueSpec } from '../../../graph/graph.ts';
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { type Shape, sizeOf } from '../../../tensor/tensor.ts';
import { type Dealt, dealtAlong, evenly, type Layout, localSize, reshapeLayout, whole, withAxis } from '../layout.ts';
import type { Partition } from '../partition.ts';
import { broadcastLayout, jointLayout } from './elementwise.ts';
import type { Rule } from './rules.ts';

export const reshapeRule: Rule = (p, node) => {
  const [name] = node.inputs as [string];
  const { shape } = node.specs[0]!;
  const found = fittingReshape(p, name, shape);
  p.emit(node, {
    inputs: [p.take(name, found.before), p.builder.integers(p.local(shape, found.after))],
    layouts: [found.after],
  });
};

/** As much of a layout as is still one after the reshape. */
function fittingReshape(p: Partition, name: string, target: Shape): { before: Layout; after: Layout } {
  const layout = p.layoutOf(name);
  const fewer = layout.flatMap((dealt, axis) => (dealt ? [withAxis(layout, axis, undefined)] : []));
  for (const before of [layout, ...fewer]) {
    const after = reshapeLayout(p.shapeOf(name), before, target);
    if (after) return { before, after };
  }
  return { before: whole(layout.length), after: whole(target.length) };
}

export const transposeRule: Rule = (p, node) => {
  const [name] = node.inputs as [string];
  const order = node.attributes['perm'] as readonly number[];
  const layout = p.layoutOf(name);
  p.emit(node, { inputs: [p.take(name, layout)], layouts: [order.map((axis) => layout[axis])] });
};

export const expandRule: Rule = (p, node) => {
  const [name] = node.inputs as [string];
  const { shape } = node.specs[0]!;
  const layout = jointLayout(p, shape, [name]);
  p.emit(node, {
    inputs: [
      p.take(name, broadcastLayout(p.shapeOf(name), { shape, layout })),
      p.builder.integers(p.local(shape, layout)),
    ],
    layouts: [layout],
  });
};

export const concatRule: Rule = (p, node) => {
  const axis = node.attributes['axis'] as number;
  const over = node.inputs.map((name) => p.layoutOf(name)[axis]?.over).find((found) => found !== undefined);
  const layout = sharedAxes(p, node.inputs, { axis, over });
  if (over === undefined) {
    p.emit(node, { inputs: node.inputs.map((name) => p.take(name, layout)), layouts: [layout] });
    return;
  }
  const parts = p.mesh.count(over);
  const pieces = node.inputs.map((name): Dealt => {
    const own = p.layoutOf(name)[axis];
    return own?.over === over ? own : { over, segments: [evenly(p.shapeOf(name)[axis]!, { parts })] };
  });
  const taken = node.inputs.flatMap((name, i) =>
    localSize(pieces[i]!, p.place[over]) > 0 ? [p.take(name, withAxis(layout, axis, pieces[i]))] : [],
  );
  const joined = withAxis(layout, axis, { over, segments: pieces.flatMap(({ segments }) => segments) });
  p.define(node.outputs[0]!, joined, taken.length > 0 ? concat(taken, axis) : nothing(p, node.specs[0]!, joined));
};

/** The other axes of tensors that are joined along one. */
function sharedAxes(
  p: Partition,
  names: readonly string[],
  { axis, over }: { axis: number; over: string | undefined },
): Layout {
  const used = new Set<string>(over === undefined ? [] : [over]);
  return p.shapeOf(names[0]!).map((_, i) => {
    if (i === axis) return undefined;
    const dealt = names.map((name) => p.layoutOf(name)[i]).find((found) => found && !used.has(found.over));
    if (dealt) used.add(dealt.over);
    return dealt;
  });
}

export const splitRule: Rule = (p, node) => {
  const [name, sizesName] = node.inputs as [string, string];
  const axis = node.attributes['axis'] as number;
  const layout = p.layoutOf(name);
  const sizes = p.integers(sizesName);
  const dealt = layout[axis];
  const parts = dealt && partSegments(dealt, sizes);
  if (!dealt || !parts) {
    const rest = withAxis(layout, axis, undefined);
    p.emit(node, { inputs: [p.take(name, rest), p.builder.integers(sizes)], layouts: sizes.map(() => rest) });
    return;
  }
  const x = p.take(name, layout);
  const locals = parts.map((part) => localSize(part, p.place[part.over]));
  const present = locals.filter((size) => size > 0);
  const pieces = present.length > 1 ? (x.split(axis, present) as SymbolicTensor[]) : [x];
  for (const [i, output] of node.outputs.entries()) {
    const tensor = locals[i]! > 0 ? pieces.shift()! : nothing(p, node.specs[i]!, withAxis(layout, axis, parts[i]));
    p.define(output, withAxis(layout, axis, parts[i]), tensor);
  }
};

/** The part of a rank that has none: it is only ever gathered, to which it adds nothing. */
function nothing(p: Partition, { dtype, shape }: ValueSpec, layout: Layout): SymbolicTensor {
  return p.builder.emit('Constant', { dtype, shape: p.local(shape, layout) }, { inputs: [] });
}

/** The segments of each part; undefined if a part begins within a segment. */
function partSegments({ over, segments }: Dealt, sizes: readonly number[]): Dealt[] | undefined {
  const rest = [...segments];
  const parts: Dealt[] = [];
  for (const size of sizes) {
    const own: (readonly number[])[] = [];
    let have = 0;
    while (have < size && rest.length > 0) {
      const next = rest.shift()!;
      own.push(next);
      have += next.reduce((a, b) => a + b, 0);
    }
    if (have !== size) return undefined;
    parts.push({ over, segments: own });
  }
  return parts;
}

export const sliceRule: Rule = (p, node) => {
  const [name, starts, ends, axes, steps] = node.inputs as [string, string, string, string, string | undefined];
  const layout = p.layoutOf(name);
  const [from, to, axis, step] = [starts, ends, axes, steps].map((input) => (input ? p.integers(input)[0]! : 1)) as [
    number,
    number,
    number,
    number,
  ];
  const dealt = layout[axis];
  const size = p.shapeOf(name)[axis]!;
  const parts =
    dealt && step === 1
      ? partSegments(
          dealt,
          [from, to - from, size - to].filter((part) => part > 0),
        )
      : undefined;
  const own = parts?.[from > 0 ? 1 : 0];
  if (!dealt || !own) {
    const rest = withAxis(layout, axis, undefined);
    const bounds = node.inputs.slice(1).map((input) => p.take(input, whole(1)));
    p.emit(node, { inputs: [p.take(name, rest), ...bounds], layouts: [rest] });
    return;
  }
  const member = p.place[dealt.over];
  const before = from > 0 ? localSize(parts[0]!, member) : 0;
  const after = withAxis(layout, axis, own);
  const count = localSize(own, member);
  const x = p.take(name, layout);
  const tensor = count > 0 ? x.slice(axis, before, before + count) : nothing(p, node.specs[0]!, after);
  p.define(node.outputs[0]!, after, tensor);
};

export const gatherRule: Rule = (p, node) => {
  const [table, indices] = node.inputs as [string, string];
  const axis = node.attributes['axis'] as number;
  const layout = p.layoutOf(table);
  if (layout[axis] && isKeys(p, node.outputs[0]!)) {
    p.picked.set(node.outputs[0]!, { from: table, indices });
    return;
  }
  const columns = columnsOfTable(p, node);
  const from = columns ? dealtAlong(layout.length, layout.length - 1, columns) : withAxis(layout, axis, undefined);
  const used = new Set(from.map((dealt) => dealt?.over));
  const at = p.layoutOf(indices).map((dealt) => (dealt && used.has(dealt.over) ? undefined : dealt));
  p.emit(node, {
    inputs: [p.take(table, from), p.take(indices, at)],
    layouts: [[...from.slice(0, axis), ...at, ...from.slice(axis + 1)]],
  });
  // All that follows wants whole rows.
  const [output] = node.outputs as [string];
  if (columns) p.settle(output, withAxis(p.layoutOf(output), p.shapeOf(output).length - 1, undefined));
};

/** A table that has so many times as many rows as are picked is worth an exchange of what is picked. */
const manyRows = 4;

/** How the columns of a table of embeddings are dealt out: it may be as large as all blocks together, and few of its rows are read. */
function columnsOfTable(p: Partition, { inputs: [table, indices], attributes }: GraphNode): Dealt | undefined {
  const parts = p.mesh.count('tensor');
  const shape = p.shapeOf(table!);
  const isWeight = p.isStatic(table!) && !p.makerOf(table!) && !p.isStatic(indices!);
  if (parts === 1 || !isWeight || shape.length !== 2 || attributes['axis'] !== 0) return undefined;
  if (shape[1]! < parts || shape[0]! < manyRows * sizeOf(p.shapeOf(indices!))) return undefined;
  return { over: 'tensor', segments: [evenly(shape[1]!, { parts })] };
}

/** Whether a value is nothing but keys or values of attention. */
function isKeys(p: Partition, name: string): boolean {
  const uses = p.uses.get(name) ?? [];
  const isOutput = [...p.graph.outputs.values()].some(({ value }) => value === name);
  return (
    !isOutput &&
    uses.length > 0 &&
    uses.every(({ node, input }) => node.op === 'MultiHeadAttention' && (input === 1 || input === 2))
  );
}
