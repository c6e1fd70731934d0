/**
 * SVDQuant (arXiv 2411.05007): large values are first moved between weight and activations ("smoothing"), then taken out of the
 * weight by a low-rank branch in half precision; what remains is small and even enough for 4 bits.
 */

import { DejaDitError } from '../../errors/errors.ts';
import { fromFloat32 } from '../../tensor/convert.ts';
import { type Matrix, matrix, matrixOf } from '../../tensor/linear-algebra/matrix.ts';
import { floatTensor, Tensor } from '../../tensor/tensor.ts';
import { describeFormat, type FormatOf } from '../../weights/formats/weight-format.ts';
import { decodeBlocks, encodeBlocks } from './block.ts';
import type { Products } from './low-rank.ts';
import { type Factors, lowRankFactors } from './low-rank.ts';
import { decodeNvfp4, encodeNvfp4 } from './nvfp4.ts';
import type { Parts } from './scales.ts';
import { decodeTable } from './table.ts';

export interface SvdQuantOptions {
  /** What each input is divided by at run time; absent where the format does not smooth. */
  smooth?: Float32Array | undefined;
  method: 'randomised' | 'exact';
  /** How often the branch is fitted anew to what the residual's rounding left. Default 0. */
  refineIterations?: number;
  products: Products;
}

export async function encodeLowRank(w: Matrix, format: FormatOf<'low-rank'>, options: SvdQuantOptions): Promise<Parts> {
  const { smooth, method, refineIterations = 0, products } = options;
  const { rank, residual } = format;
  const smoothed = format.smooth ? scaleColumns(w, smooth!) : w;
  const smoothPart: Parts = format.smooth ? { smooth: floatTensor(smooth!) } : {};
  if (rank === 0) return { ...encodeResidual(smoothed, residual), ...smoothPart };

  let target = smoothed;
  for (let iteration = 0; ; iteration++) {
    const factors = await lowRankFactors(target, { rank, method, products });
    const branch = halfPrecision(factors);
    // The residual is taken from the rounded factors, so that it makes up for their rounding too.
    const rest = minus(smoothed, await products.times(branch.up, branch.down));
    const parts = encodeResidual(rest, residual);
    if (iteration === refineIterations) {
      const half = (m: Matrix) => new Tensor('float16', fromFloat32('float16', m.data), [m.rows, m.columns]);
      return { ...parts, down: half(branch.down), up: half(branch.up), ...smoothPart };
    }
    target = minus(smoothed, decodeResidual(parts, residual, w.columns));
  }
}

/** The weight that the parts stand for, smoothing undone. */
export async function decodeLowRank(
  parts: Parts,
  format: FormatOf<'low-rank'>,
  { columns, products }: { columns: number; products: Products },
): Promise<Matrix> {
  let result = decodeResidual(parts, format.residual, columns);
  if (format.rank > 0) {
    const branch = await products.times(matrixOf(parts.up!.float()), matrixOf(parts.down!.float()));
    result = matrix(
      result.rows,
      columns,
      result.data.map((value, i) => value + branch.data[i]!),
    );
  }
  if (!format.smooth) return result;
  return scaleColumns(
    result,
    parts.smooth!.f32.map((factor) => 1 / factor),
  );
}

function encodeResidual(w: Matrix, format: FormatOf<'low-rank'>['residual']): Parts {
  switch (format.kind) {
    case 'block':
      return encodeBlocks(w, format);
    case 'nvfp4':
      return encodeNvfp4(w, format);
    case 'table':
      throw new DejaDitError('UNSUPPORTED', `${describeFormat(format)}: such weights are only read`);
    default:
      return format satisfies never;
  }
}

function decodeResidual(parts: Parts, format: FormatOf<'low-rank'>['residual'], columns: number): Matrix {
  switch (format.kind) {
    case 'block':
      return decodeBlocks(parts, format, columns);
    case 'nvfp4':
      return decodeNvfp4(parts);
    case 'table':
      return decodeTable(parts, format, columns);
    default:
      return format satisfies never;
  }
}

function halfPrecision({ up, down }: Factors): Factors {
  const round = ({ data, rows, columns }: Matrix) =>
    matrix(rows, columns, new Tensor('float16', fromFloat32('float16', data), [data.length]).float().f32);
  return { up: round(up), down: round(down) };
}

function scaleColumns({ data, rows, columns }: Matrix, factors: Float32Array): Matrix {
  return matrix(
    rows,
    columns,
    data.map((value, i) => value * factors[i % columns]!),
  );
}

function minus(a: Matrix, b: Matrix): Matrix {
  return matrix(
    a.rows,
    a.columns,
    a.data.map((value, i) => value - b.data[i]!),
  );
}
