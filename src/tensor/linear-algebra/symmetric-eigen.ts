/**
 * Eigenvalues and eigenvectors of a symmetric matrix: Householder's reduction to three diagonals, then QL steps with implicit
 * shifts (Golub and Van Loan, "Matrix Computations", 8.3). O(n³): a second for n = 500.
 */
import { DejaDitError } from '../../errors/errors.ts';

export interface SymmetricEigen {
  /** Descending. */
  values: Float64Array;
  /** Unit length, in the order of the values. */
  vectors: Float64Array[];
}

/** @param symmetric [n, n], row-major; only read */
export function symmetricEigen(symmetric: Float64Array, n: number): SymmetricEigen {
  const { diagonal, beside, basis } = tridiagonal(symmetric, n);
  diagonalize(diagonal, beside, basis);
  const order = Array.from(diagonal.keys()).sort((a, b) => diagonal[b]! - diagonal[a]!);
  return {
    values: Float64Array.from(order, (i) => diagonal[i]!),
    vectors: order.map((i) => basis[i]!),
  };
}

interface Tridiagonal {
  diagonal: Float64Array;
  /** beside[i] couples i and i + 1; the last is 0. */
  beside: Float64Array;
  /** Orthonormal; vector i belongs to diagonal[i]. */
  basis: Float64Array[];
}

/** A = Q·T·Qᵀ, one column after the other brought to zero below the diagonal's neighbour by a reflection. */
function tridiagonal(symmetric: Float64Array, n: number): Tridiagonal {
  const a = Array.from({ length: n }, (_, i) => symmetric.slice(i * n, (i + 1) * n));
  const beside = new Float64Array(n);
  const reflections: (Float64Array | undefined)[] = [];
  for (let k = 0; k < n - 1; k++) {
    // v reflects column k below the diagonal onto its first entry.
    const v = new Float64Array(n);
    let length = 0;
    for (let i = k + 1; i < n; i++) {
      v[i] = a[i]![k]!;
      length += v[i]! ** 2;
    }
    length = Math.sqrt(length);
    beside[k] = v[k + 1]! > 0 ? -length : length;
    v[k + 1]! -= beside[k]!;
    let norm = 0;
    for (let i = k + 1; i < n; i++) norm += v[i]! ** 2;
    if (norm === 0) {
      reflections.push(undefined);
      continue;
    }
    const factor = Math.SQRT2 / Math.sqrt(norm); // now the reflection is 1 − v·vᵀ
    for (let i = k + 1; i < n; i++) v[i]! *= factor;
    reflections.push(v);
    // A ← (1 − v·vᵀ)·A·(1 − v·vᵀ) = A − v·wᵀ − w·vᵀ with w = A·v − v·(vᵀ·A·v) / 2
    const w = new Float64Array(n);
    let overlap = 0;
    for (let i = k + 1; i < n; i++) {
      const row = a[i]!;
      let sum = 0;
      for (let j = k + 1; j < n; j++) sum += row[j]! * v[j]!;
      w[i] = sum;
      overlap += sum * v[i]!;
    }
    for (let i = k + 1; i < n; i++) w[i]! -= (overlap / 2) * v[i]!;
    for (let i = k + 1; i < n; i++) {
      const row = a[i]!;
      const [vi, wi] = [v[i]!, w[i]!];
      for (let j = k + 1; j < n; j++) row[j]! -= vi * w[j]! + wi * v[j]!;
    }
  }
  const basis = Array.from({ length: n }, (_, i) => {
    const unit = new Float64Array(n);
    unit[i] = 1;
    return unit;
  });
  // basis holds the columns of Q = H₀·H₁·…; column i of it starts as unit vector i, and Hₖ only touches entries from k + 1.
  for (let k = n - 2; k >= 0; k--) {
    const v = reflections[k];
    if (!v) continue;
    for (let c = k + 1; c < n; c++) {
      const column = basis[c]!;
      let sum = 0;
      for (let i = k + 1; i < n; i++) sum += v[i]! * column[i]!;
      for (let i = k + 1; i < n; i++) column[i]! -= sum * v[i]!;
    }
  }
  return { diagonal: Float64Array.from(a, (row, i) => row[i]!), beside, basis };
}

/** Rotates neighbours until nothing is left beside the diagonal; the basis turns along. */
function diagonalize(d: Float64Array, e: Float64Array, basis: Float64Array[]): void {
  const n = d.length;
  for (let first = 0; first < n; first++) {
    for (let step = 0; ; step++) {
      let last = first;
      while (last < n - 1 && Math.abs(e[last]!) > Number.EPSILON * (Math.abs(d[last]!) + Math.abs(d[last + 1]!)))
        last++;
      if (last === first) break;
      if (step === 60) throw new DejaDitError('RUNTIME', 'the eigenvalues of a symmetric matrix do not converge');
      // The eigenvalue of the leading 2 × 2 block that is nearer to d[first] (Wilkinson's shift).
      const ratio = (d[first + 1]! - d[first]!) / (2 * e[first]!);
      const root = Math.hypot(ratio, 1);
      let bulge = d[last]! - d[first]! + e[first]! / (ratio + (ratio >= 0 ? root : -root));
      let [sine, cosine, carried] = [1, 1, 0];
      for (let i = last - 1; i >= first; i--) {
        const [f, b] = [sine * e[i]!, cosine * e[i]!];
        const length = Math.hypot(f, bulge);
        e[i + 1] = length;
        if (length === 0) {
          d[i + 1]! -= carried;
          e[last] = 0;
          break;
        }
        [sine, cosine] = [f / length, bulge / length];
        const shifted = d[i + 1]! - carried;
        const mixed = (d[i]! - shifted) * sine + 2 * cosine * b;
        carried = sine * mixed;
        d[i + 1] = shifted + carried;
        bulge = cosine * mixed - b;
        rotate(basis[i]!, basis[i + 1]!, { cosine, sine });
        if (i === first) {
          d[first]! -= carried;
          e[first] = bulge;
          e[last] = 0;
        }
      }
    }
  }
}

function rotate(a: Float64Array, b: Float64Array, { cosine, sine }: { cosine: number; sine: number }): void {
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i]!, b[i]!];
    b[i] = sine * x + cosine * y;
    a[i] = cosine * x - sine * y;
  }
}
