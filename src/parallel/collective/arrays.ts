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
