/**
 * NVFP4 weights: e2m1 codes (0, ½, 1, 1½, 2, 3, 4, 6 with a sign), a float8 scale for every 16 inputs, and a float32 scale for
 * those, of each row or of all. The low halves of a row's bytes hold its first columns, the high halves the others.
 */

import { fromFloat32, toFloat32 } from '../../tensor/convert.ts';
import { type Matrix, matrix } from '../../tensor/linear-algebra/matrix.ts';
import { dims, floatTensor, Tensor } from '../../tensor/tensor.ts';
import { type FormatOf, nvfp4BlockSize, partsOf } from '../../weights/formats/weight-format.ts';
import { type Parts, peak, scaleFor } from './scales.ts';

const magnitudes = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
const largestCode = 6;
const largestScale = 448;

/** The code of the e2m1 number nearest to `x`; half-way between two, the even code. */
export function encodeE2m1(x: number): number {
  const m = Math.abs(x);
  const low = m > 0.25 ? (m >= 0.75 ? 2 : 1) : 0;
  const middle = m >= 1.75 ? 4 : 3;
  const high = m >= 3.5 ? (m > 5 ? 7 : 6) : 5;
  const index = m > 2.5 ? high : m > 1.25 ? middle : low;
  return x < 0 ? index + 8 : index;
}

export function decodeE2m1(bits: number): number {
  const magnitude = magnitudes[bits & 7]!;
  return bits & 8 ? -magnitude : magnitude;
}

export function encodeNvfp4({ data, rows, columns }: Matrix, format: FormatOf<'nvfp4'>): Parts {
  const specs = partsOf(format, [rows, columns]);
  const perRow = columns / nvfp4BlockSize;
  const outer = new Float32Array(format.scales === 'row' ? rows : 1);
  for (let i = 0; i < outer.length; i++) {
    const largest = outer.length === 1 ? peak(data) : peak(data, i * columns, columns);
    outer[i] = scaleFor(largest, largestCode * largestScale);
  }
  const wanted = new Float32Array(rows * perRow);
  for (let i = 0; i < wanted.length; i++) {
    const global = outer[outer.length === 1 ? 0 : Math.floor(i / perRow)]!;
    wanted[i] = Math.fround(peak(data, i * nvfp4BlockSize, nvfp4BlockSize) / global) / largestCode;
  }
  const blockScale = fromFloat32('float8_e4m3fn', wanted) as Uint8Array;
  const scales = toFloat32('float8_e4m3fn', blockScale);
  const codes = new Uint8Array(data.length / 2);
  const half = columns / 2;
  for (let row = 0; row < rows; row++) {
    const global = outer[outer.length === 1 ? 0 : row]!;
    for (let column = 0; column < columns; column++) {
      const i = row * columns + column;
      const scale = Math.fround(scales[Math.floor(i / nvfp4BlockSize)]! * global);
      const bits = scale === 0 ? 0 : encodeE2m1(Math.fround(data[i]! / scale));
      const byte = row * half + (column % half);
      codes[byte] = column < half ? bits : codes[byte]! | (bits << 4);
    }
  }
  return {
    codes: new Tensor('uint8', codes, specs.codes!.shape),
    blockScale: new Tensor('float8_e4m3fn', blockScale, specs.blockScale!.shape),
    scale: floatTensor(outer, specs.scale!.shape),
  };
}

export function decodeNvfp4({ codes, blockScale, scale }: Parts): Matrix {
  const [rows, half] = dims(codes!, 2);
  const [source, outer] = [codes!.data as Uint8Array, scale!.f32];
  const scales = toFloat32(blockScale!.dtype, blockScale!.data);
  const result = matrix(rows, 2 * half);
  for (let i = 0; i < result.data.length; i++) {
    const [row, column] = [Math.floor(i / result.columns), i % result.columns];
    const byte = source[row * half + (column % half)]!;
    const blockAndRow = Math.fround(scales[Math.floor(i / nvfp4BlockSize)]! * outer[outer.length === 1 ? 0 : row]!);
    result.data[i] = decodeE2m1(column < half ? byte : byte >> 4) * blockAndRow;
  }
  return result;
}
