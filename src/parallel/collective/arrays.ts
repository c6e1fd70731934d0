/** What is done to arrays on the host: seen as bytes, and combined elementwise. */
import type { TypedArray } from '../../tensor/dtype.ts';
import type { Reduction, SummableArray } from './collective.ts';

export function bytesOf({ buffer, byteOffset, byteLength }: TypedArray): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Copies all elements into an array of the same type and length. */
export function copyInto(target: TypedArray, source: TypedArray): void {
  bytesOf(target).set(bytesOf(source));
}

/** Combines elementwise into `target`. */
export function reduceInto(target: SummableArray, source: SummableArray, operation: Reduction): void {
  const { length } = target;
  if (operation === 'sum') for (let i = 0; i < length; i++) target[i] = target[i]! + source[i]!;
  else for (let i = 0; i < length; i++) target[i] = Math.max(target[i]!, source[i]!);
}

/** `float32` of a Float32Array. */
export function typeName(array: TypedArray): string {
  return array.constructor.name.replace('Array', '').toLowerCase();
}

/** Up to this many elements a sum in one step, for which all send everything, takes less time than one in two steps with parts. */
export const shortSum = 4096;

/** The counts of parts that differ by one at most. */
export function nearlyEven(length: number, parts: number): number[] {
  return Array.from({ length: parts }, (_, i) => Math.floor((length + i) / parts));
}

/** Where each part begins: the sums of the counts before it. */
export function offsets(counts: readonly number[]): number[] {
  let sum = 0;
  return counts.map((count) => {
    sum += count;
    return sum - count;
  });
}

/** Parts of an array, without copying. */
export function cut<T extends TypedArray>(array: T, counts: readonly number[]): T[] {
  const starts = offsets(counts);
  return counts.map((count, i) => array.subarray(starts[i]!, starts[i]! + count) as T);
}

/** All parts combined in their order, so that the result is the same wherever it is taken. */
export function combined([first, ...others]: readonly SummableArray[], operation: Reduction): SummableArray {
  const result = first!.slice();
  for (const other of others) reduceInto(result, other, operation);
  return result;
}
