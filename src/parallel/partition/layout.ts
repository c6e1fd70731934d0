/**
 * How a tensor lies on the ranks of a mesh. An axis is whole on every rank, or dealt out over a mesh axis: in segments one after the
 * other (the text, then the image), each cut into a part for every rank. A rank holds its parts in order. Parts may differ in size, so that
 * any length and any number of heads can be dealt.
 */
import { indicesOf, type Range, type Selection, select } from '../../tensor/selection.ts';
import { type Shape, sizeOf, type Tensor } from '../../tensor/tensor.ts';
import type { MeshAxis, Place } from './mesh.ts';

export interface Dealt {
  readonly over: MeshAxis;
  /** For each segment the size of every rank's part. */
  readonly segments: readonly (readonly number[])[];
}

/** For each axis; undefined: whole. */
export type Layout = readonly (Dealt | undefined)[];

export const whole = (rank: number): Layout => Array<Dealt | undefined>(rank).fill(undefined);

export const isWhole = (layout: Layout): boolean => layout.every((axis) => axis === undefined);

/** Equal texts for equal layouts. */
export const layoutKey = (layout: Layout): string =>
  layout
    .map((axis) => (axis ? `${axis.over}:${axis.segments.map((parts) => parts.join('+')).join('/')}` : ''))
    .join(',');

export const sameDealt = (a: Dealt | undefined, b: Dealt | undefined): boolean =>
  a === b || layoutKey([a]) === layoutKey([b]);

/** One axis dealt, the others whole. */
export const dealtAlong = (rank: number, axis: number, dealt: Dealt | undefined): Layout =>
  Array.from({ length: rank }, (_, i) => (i === axis ? dealt : undefined));

/** The layout with one axis replaced. */
export const withAxis = (layout: Layout, axis: number, dealt: Dealt | undefined): Layout =>
  layout.map((old, i) => (i === axis ? dealt : old));

/** A size in parts as equal as can be, all of them multiples of `unit`; the first ones are larger. */
export function evenly(size: number, { parts, unit = 1 }: { parts: number; unit?: number }): number[] {
  const units = size / unit;
  return Array.from({ length: parts }, (_, i) => unit * (Math.floor(units / parts) + (i < units % parts ? 1 : 0)));
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** What a rank holds of an axis. */
export const localSize = ({ segments }: Pick<Dealt, 'segments'>, member: number): number =>
  sum(segments.map((parts) => parts[member]!));

/** Where a rank's parts lie on the axis, without empty ones. */
export function rangesOf({ segments }: Pick<Dealt, 'segments'>, member: number): Range[] {
  let start = 0;
  return segments.flatMap((parts) => {
    const from = start + sum(parts.slice(0, member));
    start += sum(parts);
    return parts[member]! > 0 ? [{ from, to: from + parts[member]! }] : [];
  });
}

export function localShape(shape: Shape, { layout, place }: { layout: Layout; place: Place }): number[] {
  return shape.map((dim, i) => {
    const dealt = layout[i];
    return dealt ? localSize(dealt, place[dealt.over]) : dim;
  });
}

/** What a rank holds of a tensor. */
export function selectionOf(layout: Layout, place: Place): Selection {
  return layout.map((dealt) => dealt && rangesOf(dealt, place[dealt.over]));
}

/** What a rank holds of a whole tensor on the host. */
export function cutTensor(tensor: Tensor, { layout, place }: { layout: Layout; place: Place }): Tensor {
  return select(tensor, selectionOf(layout, place));
}

/** Puts a rank's part where it belongs in the whole tensor. */
export function putPart(target: Tensor, part: Tensor, { layout, place }: { layout: Layout; place: Place }): void {
  const indices = layout.map((dealt, axis) => {
    const ranges = dealt ? rangesOf(dealt, place[dealt.over]) : [{ from: 0, to: target.shape[axis]! }];
    return indicesOf(ranges);
  });
  // Everything behind the last dealt axis is copied in one piece.
  const last = layout.findLastIndex((dealt) => dealt !== undefined);
  const inner = sizeOf(target.shape.slice(last + 1));
  const copy = (axis: number, targetRow: number, partRow: number): void => {
    for (const [i, index] of indices[axis]!.entries()) {
      const [to, from] = [targetRow * target.shape[axis]! + index, partRow * part.shape[axis]! + i];
      if (axis < last) copy(axis + 1, to, from);
      else
        (target.data as Uint8Array).set(part.data.subarray(from * inner, (from + 1) * inner) as Uint8Array, to * inner);
    }
  };
  if (last < 0) (target.data as Uint8Array).set(part.data as Uint8Array);
  else copy(0, 0, 0);
}

/** Segments beyond this number are no layout any more, but a permutation. */
const maxSegments = 4096;

/**
 * The layout of a tensor after its shape has changed.
 * @returns undefined if the parts of the ranks are no parts of any axis then
 */
export function reshapeLayout(shape: Shape, layout: Layout, target: Shape): Layout | undefined {
  const result: (Dealt | undefined)[] = target.map(() => undefined);
  for (const { from, to } of commonFactors(shape, target)) {
    const dealtAxes = from.filter((axis) => layout[axis]);
    const [axis] = dealtAxes;
    if (axis === undefined) continue;
    if (dealtAxes.length > 1) return undefined;
    const { over, segments } = layout[axis]!;
    const size = (axes: readonly number[], of: Shape) => sizeOf(axes.map((i) => of[i]!));
    const inner = size(
      from.filter((i) => i > axis),
      shape,
    );
    const outer = size(
      from.filter((i) => i < axis),
      shape,
    );
    if (outer * segments.length > maxSegments) return undefined;
    const flat = Array.from({ length: outer }, () => segments.map((parts) => parts.map((part) => part * inner))).flat();
    const found = to.find((candidate) => {
      const unit = size(
        to.filter((i) => i > candidate),
        target,
      );
      const repeats = size(
        to.filter((i) => i < candidate),
        target,
      );
      const pattern = repeated(flat, { repeats, total: target[candidate]! * unit, unit });
      if (pattern) result[candidate] = { over, segments: pattern };
      return pattern !== undefined;
    });
    if (found === undefined) return undefined;
  }
  return result;
}

/** The segments of which `flat` is so many repetitions, in units; undefined if it is not. */
function repeated(
  flat: readonly (readonly number[])[],
  { repeats, total, unit }: { repeats: number; total: number; unit: number },
): number[][] | undefined {
  if (flat.length % repeats !== 0) return undefined;
  const length = flat.length / repeats;
  const pattern = flat.slice(0, length);
  if (sum(pattern.map(sum)) !== total || pattern.some((parts) => parts.some((part) => part % unit !== 0)))
    return undefined;
  if (flat.some((parts, i) => parts.some((part, j) => part !== pattern[i % length]![j]))) return undefined;
  return pattern.map((parts) => parts.map((part) => part / unit));
}

/** The smallest groups of neighbouring axes that hold the same number of elements on both sides. */
function commonFactors(shape: Shape, target: Shape): { from: number[]; to: number[] }[] {
  const groups: { from: number[]; to: number[] }[] = [];
  let [i, j] = [0, 0];
  while (i < shape.length || j < target.length) {
    const group = { from: [] as number[], to: [] as number[] };
    let [a, b] = [1, 1];
    const takeFrom = () => {
      a *= shape[i]!;
      group.from.push(i++);
    };
    const takeTo = () => {
      b *= target[j]!;
      group.to.push(j++);
    };
    if (i < shape.length) takeFrom();
    if (j < target.length) takeTo();
    while (a !== b) {
      if (a < b) takeFrom();
      else takeTo();
    }
    groups.push(group);
  }
  return groups;
}
