/** Cutting and joining float32 tensors on the host, along one axis. */
import { floatTensor, sizeOf, type Tensor } from './tensor.ts';

/** Elements `from` to `to` (exclusive) along an axis, copied. */
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

/** Joins tensors that differ at most in the size of one axis. */
export function join(tensors: readonly Tensor[], axis: number): Tensor {
  const [first] = tensors as [Tensor];
  if (tensors.length === 1) return first;
  const total = tensors.reduce((sum, { shape }) => sum + shape[axis]!, 0);
  const shape = first.shape.map((dim, i) => (i === axis ? total : dim));
  const row = sizeOf(shape.slice(axis));
  const outer = sizeOf(shape.slice(0, axis));
  const data = new Float32Array(outer * row);
  let at = 0;
  for (const tensor of tensors) {
    const part = tensor.size / outer;
    const source = tensor.f32;
    for (let i = 0; i < outer; i++) data.set(source.subarray(i * part, (i + 1) * part), i * row + at);
    at += part;
  }
  return floatTensor(data, shape);
}
