/** What all formats share: the parts of a quantised matrix, scales, rounding, and how far off the result is. */
import { roundHalfEven } from '../../tensor/rounding.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/** The tensors that hold a quantised matrix, by the part names of `weights/formats/weight-format.ts`. */
export type Parts = Readonly<Record<string, Tensor>>;

/** Largest magnitude among `count` elements from `start`. */
export function peak(data: Float32Array, start = 0, count = data.length): number {
  let largest = 0;
  for (let i = start; i < start + count; i++) {
    const magnitude = Math.abs(data[i]!);
    if (magnitude > largest) largest = magnitude;
  }
  return largest;
}

/** round(value / scale) in float32 arithmetic, where −top … top covers all values. */
export function code(value: number, scale: number): number {
  return roundHalfEven(Math.fround(value / scale));
}

const smallestNormal = 2 ** -126;

/** A float32 scale that brings `largest` to `top`; 1 where nothing can be scaled (as good as zero, or not finite). */
export function scaleFor(largest: number, top: number): number {
  const scale = Math.fround(largest / top);
  return scale >= smallestNormal && Number.isFinite(scale) ? scale : 1;
}

/** ‖a − b‖ / ‖b‖ in the Frobenius norm. */
export function relativeError(actual: Float32Array, expected: Float32Array): number {
  let error = 0;
  let total = 0;
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i]! - expected[i]!) ** 2;
    total += expected[i]! ** 2;
  }
  return total === 0 ? Math.sqrt(error) : Math.sqrt(error / total);
}
