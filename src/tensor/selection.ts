/** Parts of tensors: some ranges of some axes. */
import type { TypedArray } from './dtype.ts';
import { type Shape, sizeOf, Tensor } from './tensor.ts';

/** Elements `from` to `to` (exclusive) of an axis. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** For each axis the ranges that are taken, in their order; undefined: all of it. */
export type Selection = readonly (readonly Range[] | undefined)[];

export const isAll = (selection: Selection): boolean => selection.every((ranges) => ranges === undefined);

/** How many elements ranges take. */
export const lengthOf = (ranges: readonly Range[]): number => ranges.reduce((sum, { from, to }) => sum + to - from, 0);

export function selectedShape(shape: Shape, selection: Selection): number[] {
  return shape.map((dim, axis) => (selection[axis] ? lengthOf(selection[axis]) : dim));
}

/** The indices that ranges take. */
export function indicesOf(ranges: readonly Range[]): number[] {
  return ranges.flatMap(({ from, to }) => Array.from({ length: to - from }, (_, i) => from + i));
}

/** The selected elements, in memory of their own; the tensor itself where that is all. */
export function select(tensor: Tensor, selection: Selection): Tensor {
  return selection.reduce<Tensor>((part, ranges, axis) => (ranges ? selectAlong(part, axis, ranges) : part), tensor);
}

function selectAlong({ dtype, data, shape }: Tensor, axis: number, ranges: readonly Range[]): Tensor {
  const inner = sizeOf(shape.slice(axis + 1));
  const outer = sizeOf(shape.slice(0, axis));
  const row = shape[axis]! * inner;
  const kept = lengthOf(ranges);
  const part = new (data.constructor as new (length: number) => TypedArray)(outer * kept * inner);
  let at = 0;
  for (let i = 0; i < outer; i++) {
    for (const { from, to } of ranges) {
      // The array classes are the same, which the compiler cannot know.
      (part as Uint8Array).set(data.subarray(i * row + from * inner, i * row + to * inner) as Uint8Array, at);
      at += (to - from) * inner;
    }
  }
  return new Tensor(
    dtype,
    part,
    shape.map((dim, i) => (i === axis ? kept : dim)),
  );
}
