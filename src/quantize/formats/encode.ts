/** A matrix to the parts of any format and back. Which format a layer gets is decided in `plan.ts`. */

import { DejaDitError } from '../../errors/errors.ts';
import type { Matrix } from '../../tensor/linear-algebra/matrix.ts';
import { describeFormat, type WeightFormat } from '../../weights/formats/weight-format.ts';
import { decodeAffine } from './affine.ts';
import { decodeBlocks, encodeBlocks } from './block.ts';
import { decodeFloat8, encodeFloat8 } from './float8.ts';
import { decodeInt8, encodeInt8 } from './int8.ts';
import type { Products } from './low-rank.ts';
import { decodeNvfp4, encodeNvfp4 } from './nvfp4.ts';
import type { Parts } from './scales.ts';
import { decodeLowRank, encodeLowRank, type SvdQuantOptions } from './svdquant.ts';
import { decodeTable } from './table.ts';

/** @param options what SVDQuant needs; other formats ignore it */
export async function encode(w: Matrix, format: WeightFormat, options: SvdQuantOptions): Promise<Parts> {
  switch (format.kind) {
    case 'int8':
      return encodeInt8(w, format);
    case 'block':
      return encodeBlocks(w, format);
    case 'affine':
    case 'table':
      throw new DejaDitError('UNSUPPORTED', `${describeFormat(format)}: such weights are only read`);
    case 'float8':
      return encodeFloat8(w, format);
    case 'nvfp4':
      return encodeNvfp4(w, format);
    case 'low-rank':
      return encodeLowRank(w, format, options);
    default:
      return format satisfies never;
  }
}

/** The matrix that parts stand for. @param columns inputs, which padding may hide */
export async function decode(
  parts: Parts,
  format: WeightFormat,
  { columns, products }: { columns: number; products: Products },
): Promise<Matrix> {
  switch (format.kind) {
    case 'int8':
      return decodeInt8(parts);
    case 'block':
      return decodeBlocks(parts, format, columns);
    case 'affine':
      return decodeAffine(parts, format, columns);
    case 'table':
      return decodeTable(parts, format, columns);
    case 'float8':
      return decodeFloat8(parts);
    case 'nvfp4':
      return decodeNvfp4(parts);
    case 'low-rank':
      return decodeLowRank(parts, format, { columns, products });
    default:
      return format satisfies never;
  }
}
