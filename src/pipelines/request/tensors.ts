/** Small host-side tensor helpers of the pipelines. */
import { DejaDitError } from '../../errors/errors.ts';
import { join } from '../../tensor/slices.ts';
import { floatTensor, intTensor, type Shape, sizeOf, type Tensor } from '../../tensor/tensor.ts';

/** Every row of the first axis `times` times in a row: [a, b] → [a, a, b, b]. */
export function repeatRows(tensor: Tensor, times: number): Tensor {
  if (times === 1) return tensor;
  const [rows, rest] = [tensor.dim(0), tensor.shape.slice(1)];
  const size = tensor.size / rows;
  const data = new Float32Array(tensor.size * times);
  for (let row = 0; row < rows * times; row++) {
    const source = Math.floor(row / times);
    data.set(tensor.f32.subarray(source * size, (source + 1) * size), row * size);
  }
  return floatTensor(data, [rows * times, ...rest]);
}

/** All rows of the first axis again and again, until there are so many: [a, b] → [a, b, a, b]. */
export function repeatToRows(tensor: Tensor, rows: number): Tensor {
  return join(Array<Tensor>(rows / tensor.dim(0)).fill(tensor), 0);
}

/** [a, b, …] → [b, a, …]. */
export function swapFirstAxes(tensor: Tensor): Tensor {
  const [a = 1, b = 1, ...rest] = tensor.shape;
  const size = sizeOf(rest);
  const data = new Float32Array(tensor.size);
  for (let i = 0; i < a; i++)
    for (let j = 0; j < b; j++)
      data.set(tensor.f32.subarray((i * b + j) * size, (i * b + j + 1) * size), (j * a + i) * size);
  return floatTensor(data, [b, a, ...rest]);
}

/** value·scale + shift for every element, rounded to float32 after each operation. */
export function affine(tensor: Tensor, { scale = 1, shift = 0 }: { scale?: number; shift?: number }): Tensor {
  return floatTensor(
    tensor.f32.map((value) => Math.fround(value * scale) + shift),
    tensor.shape,
  );
}

/** Zeros behind the elements of an axis, up to `length`. */
export function padEnd(tensor: Tensor, { axis, length }: { axis: number; length: number }): Tensor {
  const shape = tensor.shape.map((dim, i) => (i === axis ? length - dim : dim));
  return shape[axis] === 0 ? tensor : join([tensor, floatTensor(new Float32Array(sizeOf(shape)), shape)], axis);
}

/** Token ids [B, tokens]. */
export function idTensor(rows: readonly (readonly number[])[]): Tensor {
  return intTensor(rows.flat(), [rows.length, rows[0]!.length]);
}

/** A caller's tensor in float32, if it has the shape that is needed. */
export function requireShape(tensor: Tensor, shape: Shape, name: string): Tensor {
  if (String(tensor.shape) === String(shape)) return tensor.float();
  throw new DejaDitError('SHAPE_MISMATCH', `shape [${tensor.shape}], expected [${shape}]`, { path: name });
}
