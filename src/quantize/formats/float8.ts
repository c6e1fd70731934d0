/** float8 e4m3 weights (arXiv 2209.05433) with a scale for each row, each tile of 128 × 128, or one for all. */

import { fromFloat32, toFloat32 } from '../../tensor/convert.ts';
import { type Matrix, matrix } from '../../tensor/linear-algebra/matrix.ts';
import { dims, floatTensor, Tensor } from '../../tensor/tensor.ts';
import { type FormatOf, partsOf } from '../../weights/formats/weight-format.ts';
import { type Parts, peak, scaleFor } from './scales.ts';

/** Largest value of e4m3. */
const top = 448;

export function encodeFloat8({ data, rows, columns }: Matrix, format: FormatOf<'float8'>): Parts {
  const { shape } = partsOf(format, [rows, columns]).scale!;
  const [scaleRows, scaleColumns] = dims({ shape }, 2);
  const [height, width] = [rows / scaleRows, columns / scaleColumns];
  const scale = new Float32Array(scaleRows * scaleColumns);
  const scaled = new Float32Array(data.length);
  for (let i = 0; i < scale.length; i++) {
    const [firstRow, firstColumn] = [Math.floor(i / scaleColumns) * height, (i % scaleColumns) * width];
    let largest = 0;
    for (let row = firstRow; row < firstRow + height; row++)
      largest = Math.max(largest, peak(data, row * columns + firstColumn, width));
    scale[i] = scaleFor(largest, top);
    for (let row = firstRow; row < firstRow + height; row++) {
      const start = row * columns + firstColumn;
      for (let at = start; at < start + width; at++) scaled[at] = data[at]! / scale[i]!;
    }
  }
  const codes = fromFloat32('float8_e4m3fn', scaled) as Uint8Array;
  return { codes: new Tensor('float8_e4m3fn', codes, [rows, columns]), scale: floatTensor(scale, shape) };
}

export function decodeFloat8({ codes, scale }: Parts): Matrix {
  const [rows, columns] = dims(codes!, 2);
  const [scaleRows, scaleColumns] = dims(scale!, 2);
  const [height, width] = scaleRows * scaleColumns === 1 ? [rows, columns] : [rows / scaleRows, columns / scaleColumns];
  const [values, scales] = [toFloat32(codes!.dtype, codes!.data), scale!.f32];
  const result = matrix(rows, columns);
  for (let i = 0; i < values.length; i++) {
    const [row, column] = [Math.floor(i / columns), i % columns];
    result.data[i] = values[i]! * scales[Math.floor(row / height) * scaleColumns + Math.floor(column / width)]!;
  }
  return result;
}
