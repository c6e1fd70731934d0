/** Weights in codes of a table with a scale for each block, as they come from bitsandbytes; see `weights/formats/weight-format.ts`. */
import { type Matrix, matrix } from '../../tensor/linear-algebra/matrix.ts';
import type { FormatOf } from '../../weights/formats/weight-format.ts';
import type { Parts } from './scales.ts';

export function decodeTable({ codes, scale, table }: Parts, { blockSize }: FormatOf<'table'>, columns: number): Matrix {
  const bytes = codes!.data as Uint8Array;
  const result = matrix(scale!.dim(0), columns);
  for (let i = 0; i < result.data.length; i++) {
    const byte = bytes[i >> 1]!;
    const code = i % 2 === 0 ? byte >> 4 : byte & 15;
    result.data[i] = table!.f32[code]! * scale!.f32[Math.floor(i / blockSize)]!;
  }
  return result;
}
