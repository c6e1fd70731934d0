/** Symmetric int8 weights: codes −127…127 with a scale for each row, or one for all. */
import { floatTensor, Tensor } from '../tensor/tensor.ts';
import type { FormatOf } from '../weights/weight-format.ts';
import { code, type Matrix, matrix, type Parts, peak, scaleFor } from './matrix.ts';

const range = [-127, 127] as const;

export function encodeInt8({ data, rows, columns }: Matrix, { scales }: FormatOf<'int8'>): Parts {
  const scale = new Float32Array(scales === 'row' ? rows : 1);
  for (let i = 0; i < scale.length; i++) {
    scale[i] = scaleFor(scales === 'row' ? peak(data, i * columns, columns) : peak(data), range[1]);
  }
  const codes = new Int8Array(data.length);
  transposed(rows, columns, (row, column) => {
    const rowScale = scale[scale.length === 1 ? 0 : row]!;
    codes[column * rows + row] = code(data[row * columns + column]!, rowScale, range);
  });
  return { codes: new Tensor('int8', codes, [columns, rows]), scale: floatTensor(scale) };
}

export function decodeInt8({ codes, scale }: Parts): Matrix {
  const [columns, rows] = codes!.shape as [number, number];
  const [source, scales] = [codes!.data as Int8Array, scale!.data as Float32Array];
  const result = matrix(rows, columns);
  transposed(rows, columns, (row, column) => {
    result.data[row * columns + column] = source[column * rows + row]! * scales[scales.length === 1 ? 0 : row]!;
  });
  return result;
}

/** Visits all elements in squares that fit the cache, since source and target are laid out across each other. */
function transposed(rows: number, columns: number, visit: (row: number, column: number) => void): void {
  const side = 64;
  for (let top = 0; top < rows; top += side) {
    for (let left = 0; left < columns; left += side) {
      const [bottom, right] = [Math.min(rows, top + side), Math.min(columns, left + side)];
      for (let row = top; row < bottom; row++) for (let column = left; column < right; column++) visit(row, column);
    }
  }
}
