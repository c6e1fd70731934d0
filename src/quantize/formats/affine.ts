/** Weights in blocks with a scale and an offset, as they come from GGUF; see `weights/formats/weight-format.ts`. */
import { type Matrix, matrix } from '../../tensor/linear-algebra/matrix.ts';
import type { FormatOf } from '../../weights/formats/weight-format.ts';
import type { Parts } from './scales.ts';

export function decodeAffine(
  { codes, scale, offset }: Parts,
  { bits, blockSize }: FormatOf<'affine'>,
  columns: number,
): Matrix {
  const data = codes!.data as Uint8Array;
  const result = matrix(scale!.dim(0), columns);
  const half = blockSize / 2;
  for (let i = 0; i < result.data.length; i++) {
    const [block, place] = [Math.floor(i / blockSize), i % blockSize];
    const pair = data[block * half + (place % half)]!;
    const code = bits === 8 ? data[i]! : place < half ? pair & 15 : pair >> 4;
    result.data[i] = scale!.f32[block]! * code + offset!.f32[block]!;
  }
  return result;
}
