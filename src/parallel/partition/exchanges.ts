/** The collectives as nodes of a graph, and what brings tensors into the form in which they travel: flat, one part after the other. */
import { collectiveDomain } from '../../graph/builder.ts';
import { concat, gather } from '../../graph/ops.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { indicesOf, type Range } from '../../tensor/selection.ts';
import { sizeOf } from '../../tensor/tensor.ts';
import { type Dealt, localSize, rangesOf } from './layout.ts';
import type { GroupName, Mesh, MeshAxis } from './mesh.ts';

/** More pieces than this are picked by a list of indices. */
const maxPieces = 16;

/** The given ranges of an axis, in order. */
export function sliceAxis(x: SymbolicTensor, axis: number, ranges: readonly Range[]): SymbolicTensor {
  if (ranges.length <= maxPieces)
    return concat(
      ranges.map(({ from, to }) => x.slice(axis, from, to)),
      axis,
    );
  return gather(x, x.graph.integers(indicesOf(ranges)), axis);
}

export interface DealtAxis {
  axis: number;
  dealt: { readonly over: GroupName; readonly segments: Dealt['segments'] };
  mesh: Mesh;
}

/** All ranks' parts of an axis, on every rank of a group. */
export function gatherAxis(x: SymbolicTensor, { axis, dealt, mesh }: DealtAxis): SymbolicTensor {
  const shapes = Array.from({ length: mesh.count(dealt.over) }, (_, member) =>
    x.shape.map((dim, i) => (i === axis ? localSize(dealt, member) : dim)),
  );
  const counts = shapes.map(sizeOf);
  const flat = sizeOf(x.shape) > 0 ? [x.reshape([-1])] : [];
  const [all] = x.graph.emitMany('AllGather', [{ dtype: x.dtype, shape: [counts.reduce((a, b) => a + b, 0)] }], {
    inputs: flat,
    attributes: { group: dealt.over, counts },
    domain: collectiveDomain,
  });
  return inOrder(unpack(all!, shapes), { axis, segments: dealt.segments });
}

/** Cuts a flat tensor into tensors of the given shapes; those of no elements are undefined. */
export function unpack(flat: SymbolicTensor, shapes: readonly (readonly number[])[]): (SymbolicTensor | undefined)[] {
  const sizes = shapes.map(sizeOf);
  const full = sizes.filter((size) => size > 0);
  const parts = full.length > 1 ? flat.split(0, full) : [flat];
  let next = 0;
  return shapes.map((shape, i) => (sizes[i]! > 0 ? (parts as SymbolicTensor[])[next++]!.reshape(shape) : undefined));
}

/** Members' parts of an axis, each with its own part of every segment, as the whole axis. */
export function inOrder(
  parts: readonly (SymbolicTensor | undefined)[],
  { axis, segments }: { axis: number; segments: readonly (readonly number[])[] },
): SymbolicTensor {
  const present = parts.filter((part) => part !== undefined);
  if (segments.length === 1) return concat(present, axis);
  if (segments.length * parts.length <= maxPieces * 4) {
    const pieces = parts.map((part, member) => {
      const sizes = segments.map((segment) => segment[member]!).filter((size) => size > 0);
      return part && sizes.length > 1 ? (part.split(axis, sizes) as SymbolicTensor[]) : part ? [part] : [];
    });
    return concat(
      segments.flatMap((segment) => segment.flatMap((size, member) => (size > 0 ? [pieces[member]!.shift()!] : []))),
      axis,
    );
  }
  const dealt: Dealt = { over: 'sequence', segments };
  const positions = parts.flatMap((_, member) => indicesOf(rangesOf(dealt, member)));
  const order = new Array<number>(positions.length);
  for (const [at, position] of positions.entries()) order[position] = at;
  const joined = concat(present, axis);
  return gather(joined, joined.graph.integers(order), axis);
}

/** Sums a tensor of the same shape over ranks, or takes the largest of each element. */
export function allReduce(x: SymbolicTensor, over: MeshAxis, operation: 'sum' | 'max' = 'sum'): SymbolicTensor {
  return x.graph.emit('AllReduce', x, {
    inputs: [x],
    attributes: { group: over, operation },
    domain: collectiveDomain,
  });
}

export interface AllToAll {
  group: GroupName;
  /** For each rank of the group a list of tensors, which travel flat. What it gets none of is undefined. */
  send: readonly (readonly (SymbolicTensor | undefined)[])[];
  /** Elements from each rank, of each of these tensors. */
  receive: readonly (readonly number[])[];
  /** Of each tensor the length of rows that travel in 8 bits, see `collective/float8.ts`; 0 for one that travels as it is. */
  rows: readonly number[];
}

/** @returns what the ranks have sent, in their order; undefined if that is nothing */
export function allToAll(like: SymbolicTensor, { group, send, receive, rows }: AllToAll): SymbolicTensor | undefined {
  const flat = send.flat().flatMap((x) => x?.reshape([-1]) ?? []);
  const sendRuns = send.map((parts) => rows.map((_, i) => (parts[i] ? sizeOf(parts[i].shape) : 0)));
  const total = sum(receive.flat());
  const { graph, dtype } = like;
  const isNarrowed = rows.some((row) => row > 0);
  const [received] = graph.emitMany(
    isNarrowed ? 'AllToAllFloat8' : 'AllToAll',
    total > 0 ? [{ dtype, shape: [total] }] : [],
    {
      inputs: flat.length > 0 ? [concat(flat, 0)] : [],
      // Counts also say of what, where nothing is sent.
      attributes: isNarrowed
        ? { group, dtype, rows, sendRuns: sendRuns.flat(), receiveRuns: receive.flat() }
        : { group, sendCounts: sendRuns.map(sum), receiveCounts: receive.map(sum) },
      domain: collectiveDomain,
    },
  );
  return received;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

/** Sends a flat tensor to one rank and receives `count` elements from another. */
export function exchange(
  x: SymbolicTensor,
  { group, to, from, count }: { group: GroupName; to: number; from: number; count: number },
): SymbolicTensor {
  return x.graph.emit(
    'Exchange',
    { dtype: x.dtype, shape: [count] },
    { inputs: [x], attributes: { group, to, from }, domain: collectiveDomain },
  );
}
