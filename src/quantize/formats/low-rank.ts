/** The best approximation of a matrix by a product of two thin ones: the leading part of its singular value decomposition. */

import { Generator } from '../../tensor/generator.ts';
import { gram, type Matrix, matrix, orthonormalColumns, transpose } from '../../tensor/linear-algebra/matrix.ts';
import { symmetricEigen } from '../../tensor/linear-algebra/symmetric-eigen.ts';

/** Products with a large matrix `w` [m, n], so that a backend can do them. */
export interface Products {
  /** w · x for x [n, k]: [m, k]. */
  times(w: Matrix, x: Matrix): Promise<Matrix>;
  /** wᵀ · x for x [m, k]: [n, k]. */
  transposedTimes(w: Matrix, x: Matrix): Promise<Matrix>;
}

export interface LowRankOptions {
  rank: number;
  /** `randomised` looks at a random subspace (arXiv 0909.4061), `exact` at all of it, in time cubic in the smaller side. */
  method: 'randomised' | 'exact';
  products: Products;
}

/** w ≈ up · down. */
export interface Factors {
  /** [out, rank]. */
  up: Matrix;
  /** [rank, in]. */
  down: Matrix;
}

/** Extra dimensions of the random subspace, and how often it is turned towards the large singular values. */
const oversampling = 10;
const powerIterations = 4;

/** Leading `rank` singular components of w [out, in], each singular value shared evenly between the two factors. */
export async function lowRankFactors(w: Matrix, { rank, method, products }: LowRankOptions): Promise<Factors> {
  const width = rank + oversampling;
  if (method === 'randomised' && width < Math.min(w.rows, w.columns)) {
    const basis = await randomBasis(w, { width, products });
    return leadingFactors(transpose(await products.transposedTimes(w, basis)), { rank, basis });
  }
  if (w.rows <= w.columns) return leadingFactors(w, { rank });
  const { up, down } = leadingFactors(transpose(w), { rank });
  return { up: transpose(down), down: transpose(up) };
}

/** An orthonormal basis [out, width] of a space that holds most of w's leading left singular vectors. */
async function randomBasis(w: Matrix, { width, products }: { width: number; products: Products }): Promise<Matrix> {
  const noise = new Generator(0).randn([w.columns, width]).f32;
  let right = matrix(w.columns, width, noise);
  for (let i = 0; i < powerIterations; i++) {
    const left = orthonormalColumns(await products.times(w, right));
    right = orthonormalColumns(await products.transposedTimes(w, left));
  }
  return orthonormalColumns(await products.times(w, right));
}

/**
 * Factors of w where `seen` = basisᵀ·w [width, in]; without a basis, `seen` is w itself. The left singular vectors of `seen` are
 * the eigenvectors of seen·seenᵀ.
 */
function leadingFactors(seen: Matrix, { rank, basis }: { rank: number; basis?: Matrix }): Factors {
  const width = seen.rows;
  const { values, vectors } = symmetricEigen(gram(seen), width);
  const up = matrix(basis?.rows ?? width, rank);
  const down = matrix(rank, seen.columns);
  for (let r = 0; r < rank; r++) {
    const vector = vectors[r]!;
    // An eigenvalue is the square of a singular value, whose root goes to each factor.
    const share = Math.max(values[r]!, 0) ** 0.25;
    for (let i = 0; i < up.rows; i++) {
      let sum = basis ? 0 : vector[i]!;
      if (basis) for (let j = 0; j < width; j++) sum += basis.data[i * width + j]! * vector[j]!;
      up.data[i * rank + r] = sum * share;
    }
    const line = new Float64Array(seen.columns);
    for (let j = 0; j < width; j++) {
      const factor = share === 0 ? 0 : vector[j]! / share;
      for (let c = 0; c < line.length; c++) line[c]! += factor * seen.data[j * seen.columns + c]!;
    }
    down.data.set(line, r * seen.columns);
  }
  return { up, down };
}
