/** Element types: their names (those of PyTorch), sizes and the typed arrays that hold them. */
import { DejaDitError } from '../errors/errors.ts';

export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** Half types have no typed array in Node 20; their bits are held as unsigned integers of the same width. */
const storage = {
  float64: Float64Array,
  float32: Float32Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  float8_e4m3fn: Uint8Array,
  float8_e5m2: Uint8Array,
  int64: BigInt64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint64: BigUint64Array,
  uint32: Uint32Array,
  uint16: Uint16Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const;

export type DType = keyof typeof storage;
export type DataOf<D extends DType> = InstanceType<(typeof storage)[D]>;

export const dtypes = Object.keys(storage) as DType[];

export function bytesPerElement(dtype: DType): number {
  return storage[dtype].BYTES_PER_ELEMENT;
}

/** The typed array class that holds `dtype`. */
export function arrayClass(dtype: DType): (typeof storage)[DType] {
  const found = storage[dtype];
  if (found === undefined) {
    throw new DejaDitError('INVALID_ARGUMENT', `unknown dtype '${dtype}', expected one of ${dtypes.join(', ')}`);
  }
  return found;
}

/** A zeroed typed array for `size` elements of `dtype`. */
export function allocate<D extends DType>(dtype: D, size: number): DataOf<D> {
  return new (arrayClass(dtype) as unknown as new (n: number) => DataOf<D>)(size);
}

/** A view of `size` elements of `dtype` on a buffer; `byteOffset` must be a multiple of the element size. */
export function viewOf<D extends DType>(
  dtype: D,
  buffer: ArrayBufferLike,
  byteOffset: number,
  size: number,
): DataOf<D> {
  return new (arrayClass(dtype) as unknown as new (b: ArrayBufferLike, o: number, n: number) => DataOf<D>)(
    buffer,
    byteOffset,
    size,
  );
}
