/** Test support: products without a backend, summed in double precision. */

import { type Matrix, matrix } from '../../tensor/linear-algebra/matrix.ts';
import type { Products } from '../formats/low-rank.ts';

export const hostProducts: Products = {
  async times(w, x) {
    const result = matrix(w.rows, x.columns);
    const row = new Float64Array(x.columns);
    for (let i = 0; i < w.rows; i++) {
      row.fill(0);
      for (let j = 0; j < w.columns; j++) addScaled(row, x, j, w.data[i * w.columns + j]!);
      result.data.set(row, i * x.columns);
    }
    return result;
  },
  async transposedTimes(w, x) {
    const sums = Array.from({ length: w.columns }, () => new Float64Array(x.columns));
    for (let i = 0; i < w.rows; i++) {
      for (let j = 0; j < w.columns; j++) addScaled(sums[j]!, x, i, w.data[i * w.columns + j]!);
    }
    const result = matrix(w.columns, x.columns);
    for (const [j, sum] of sums.entries()) result.data.set(sum, j * x.columns);
    return result;
  },
};

function addScaled(sum: Float64Array, { data, columns }: Matrix, row: number, factor: number): void {
  const start = row * columns;
  for (let k = 0; k < columns; k++) sum[k]! += factor * data[start + k]!;
}
