/**
 * Weights in blocks of inputs with a scale each, in MatMulNBits' layout: unsigned codes around 2^(bits − 1), two 4-bit codes to a
 * byte with the earlier one low, rows padded to whole blocks.
 */

import { type Matrix, matrix } from '../../tensor/linear-algebra/matrix.ts';
import { dims, floatTensor, Tensor } from '../../tensor/tensor.ts';
import { type FormatOf, partsOf } from '../../weights/formats/weight-format.ts';
import { code, type Parts, peak, scaleFor } from './scales.ts';

export function encodeBlocks({ data, rows, columns }: Matrix, format: FormatOf<'block'>): Parts {
  const { bits, blockSize } = format;
  const { codes: codeSpec, scale: scaleSpec } = partsOf(format, [rows, columns]);
  const [, blocks, bytes] = dims(codeSpec!, 3);
  const zero = 2 ** (bits - 1);
  // A byte of padding holds one or two codes of zero.
  const codes = new Uint8Array(rows * blocks * bytes).fill(bits === 8 ? zero : zero * 17);
  const scale = new Float32Array(rows * blocks);
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocks; block++) {
      const first = row * columns + block * blockSize;
      const count = Math.min(blockSize, columns - block * blockSize);
      const at = row * blocks + block;
      const blockScale = scaleFor(peak(data, first, count), zero - 1);
      scale[at] = blockScale;
      for (let i = 0; i < count; i++) {
        const value = code(data[first + i]!, blockScale) + zero;
        if (bits === 8) codes[at * bytes + i] = value;
        else {
          const byte = at * bytes + (i >> 1);
          codes[byte] = i % 2 === 0 ? (codes[byte]! & 0xf0) | value : (codes[byte]! & 0x0f) | (value << 4);
        }
      }
    }
  }
  return { codes: new Tensor('uint8', codes, codeSpec!.shape), scale: floatTensor(scale, scaleSpec!.shape) };
}

export function decodeBlocks({ codes, scale }: Parts, { bits, blockSize }: FormatOf<'block'>, columns: number): Matrix {
  const [rows, blocks] = dims(scale!, 2);
  const [source, scales] = [codes!.data as Uint8Array, scale!.f32];
  const result = matrix(rows, columns);
  const zero = 2 ** (bits - 1);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const block = row * blocks + Math.floor(column / blockSize);
      const at = block * blockSize + (column % blockSize);
      const value = bits === 8 ? source[at]! : (source[at >> 1]! >> (4 * (at % 2))) & 15;
      result.data[row * columns + column] = (value - zero) * scales[block]!;
    }
  }
  return result;
}
