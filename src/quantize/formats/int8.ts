/** Symmetric int8 weights: codes −127…127 with a scale for each row, or one for all. */

import { type Matrix, matrix } from '../../tensor/linear-algebra/matrix.ts';
import { dims, floatTensor, Tensor } from '../../tensor/tensor.ts';
import type { FormatOf } from '../../weights/formats/weight-format.ts';
import { code, type Parts, peak, scaleFor } from './scales.ts';

const top = 127;

export function encodeInt8({ data, rows, columns }: Matrix, { scales }: FormatOf<'int8'>): Parts {
  const scale = new Float32Array(scales === 'row' ? rows : 1);
  for (let i = 0; i < scale.length; i++) {
    scale[i] = scaleFor(scales === 'row' ? peak(data, i * columns, columns) : peak(data), top);
  }
  const codes = new Int8Array(data.length);
  forEachStrip(columns, (left, right) => {
    for (let row = 0; row < rows; row++) {
      const rowScale = scale[scale.length === 1 ? 0 : row]!;
      for (let column = left; column < right; column++)
        codes[column * rows + row] = code(data[row * columns + column]!, rowScale);
    }
  });
  return { codes: new Tensor('int8', codes, [columns, rows]), scale: floatTensor(scale) };
}

export function decodeInt8({ codes, scale }: Parts): Matrix {
  const [columns, rows] = dims(codes!, 2);
  const [source, scales] = [codes!.data as Int8Array, scale!.f32];
  const { data } = matrix(rows, columns);
  forEachStrip(columns, (left, right) => {
    for (let row = 0; row < rows; row++) {
      const rowScale = scales[scales.length === 1 ? 0 : row]!;
      for (let column = left; column < right; column++)
        data[row * columns + column] = source[column * rows + row]! * rowScale;
    }
  });
  return { data, rows, columns };
}

/** Strips so narrow that the cache holds a line of each of their columns: codes lie across the weight. */
function forEachStrip(columns: number, visit: (left: number, right: number) => void): void {
  const width = 64;
  for (let left = 0; left < columns; left += width) visit(left, Math.min(columns, left + width));
}
