/** Cutting and joining tensors on the host, along one axis. */
import { DejaDitError } from '../errors/errors.ts';
import { allocate, type TypedArray } from './dtype.ts';
import { floatTensor, sizeOf, Tensor } from './tensor.ts';

/** Elements `from` to `to` (exclusive) along an axis of a float32 tensor, copied. */
export function cut(x: Tensor, { axis, from, to }: { axis: number; from: number; to: number }): Tensor {
  const inner = sizeOf(x.shape.slice(axis + 1));
  const outer = sizeOf(x.shape.slice(0, axis));
  const [row, part] = [x.shape[axis]! * inner, (to - from) * inner];
  const source = x.f32;
  const data = new Float32Array(outer * part);
  for (let i = 0; i < outer; i++) data.set(source.subarray(i * row + from * inner, i * row + to * inner), i * part);
  return floatTensor(
    data,
    x.shape.map((dim, i) => (i === axis ? to - from : dim)),
  );
}

/**
 * Joins tensors that differ at most in the size of one axis.
 * @throws DejaDitError INVALID_ARGUMENT for tensors of several dtypes
 */
export function join(tensors: readonly Tensor[], axis: number): Tensor {
  const [first, ...others] = tensors as [Tensor];
  if (others.length === 0) return first;
  const { dtype } = first;
  const other = (others as Tensor[]).find((tensor) => tensor.dtype !== dtype);
  if (other) throw new DejaDitError('INVALID_ARGUMENT', `${other} cannot be joined to ${first}`);
  const total = tensors.reduce((sum, { shape }) => sum + shape[axis]!, 0);
  const shape = first.shape.map((dim, i) => (i === axis ? total : dim));
  const outer = sizeOf(shape.slice(0, axis));
  const data = allocate(dtype, sizeOf(shape));
  const joined = bytesOf(data);
  const row = joined.length / outer;
  let at = 0;
  for (const tensor of tensors) {
    const source = bytesOf(tensor.data);
    const part = source.length / outer;
    for (let i = 0; i < outer; i++) joined.set(source.subarray(i * part, (i + 1) * part), i * row + at);
    at += part;
  }
  return new Tensor(dtype, data, shape);
}

function bytesOf({ buffer, byteOffset, byteLength }: TypedArray): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
