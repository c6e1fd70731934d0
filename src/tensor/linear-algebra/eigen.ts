/** Eigenvalues, eigenvectors and real powers of a matrix of a handful of rows that need not be symmetric. */
import { identity, multiply, type SmallMatrix } from './small-matrix.ts';

type Complex = readonly [re: number, im: number];

const add = (a: Complex, b: Complex): Complex => [a[0] + b[0], a[1] + b[1]];
const subtract = (a: Complex, b: Complex): Complex => [a[0] - b[0], a[1] - b[1]];
const times = (a: Complex, b: Complex): Complex => [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]];
const scale = (a: Complex, factor: number): Complex => [a[0] * factor, a[1] * factor];
const conjugate = (a: Complex): Complex => [a[0], -a[1]];
const size = (a: Complex) => Math.hypot(a[0], a[1]);
const divide = (a: Complex, b: Complex): Complex => scale(times(a, conjugate(b)), 1 / (b[0] * b[0] + b[1] * b[1]));
/** Principal power of a complex number; 0 to any positive power is 0. */
const power = (a: Complex, exponent: number): Complex => {
  const radius = size(a) ** exponent;
  const angle = Math.atan2(a[1], a[0]) * exponent;
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
};
const squareRoot = (a: Complex) => power(a, 0.5);

export interface Eigen {
  values: Complex[];
  /** Columns of unit length. */
  vectors: Complex[][];
}

/** Relative distance kept between eigenvalues. */
const SEPARATION = 1e-6;

/**
 * Eigenvalues and eigenvectors of a real matrix, complex where they are: Schur form by shifted QR, vectors by back
 * substitution. Eigenvalues that coincide are moved apart by 1e-6 of the norm, so that there are as many vectors as
 * rows even where the matrix has fewer (the steady drift of a signal is such a case). Undefined if the matrix holds a
 * non-finite number or the iteration does not settle.
 */
export function eigen(matrix: SmallMatrix): Eigen | undefined {
  const schur = complexSchur(matrix);
  if (schur === undefined) return undefined;
  const { t, q } = schur;
  const count = matrix.length;
  const apart = SEPARATION * Math.max(...t.flat().map(size), Number.MIN_VALUE);
  const values: Complex[] = [];
  t.forEach((row, j) => {
    while (values.some((other) => size(subtract(row[j]!, other)) < apart)) row[j] = add(row[j]!, [apart, 0]);
    values.push(row[j]!);
  });
  const vectors: Complex[][] = Array.from({ length: count }, () => []);
  values.forEach((value, j) => {
    const x: Complex[] = Array.from({ length: count }, () => [0, 0]);
    x[j] = [1, 0];
    for (let i = j - 1; i >= 0; i--) {
      let rest: Complex = [0, 0];
      for (let k = i + 1; k <= j; k++) rest = add(rest, times(t[i]![k]!, x[k]!));
      x[i] = divide(rest, subtract(value, t[i]![i]!));
    }
    const column = q.map((row) => row.reduce((total, entry, k) => add(total, times(entry, x[k]!)), [0, 0] as Complex));
    const length = Math.hypot(...column.map(size));
    column.forEach((entry, i) => {
      vectors[i]![j] = scale(entry, 1 / length);
    });
  });
  return { values, vectors };
}

/** Upper triangular t and unitary q with matrix = q t qᴴ. */
function complexSchur(matrix: SmallMatrix): { t: Complex[][]; q: Complex[][] } | undefined {
  const count = matrix.length;
  if (!matrix.flat().every(Number.isFinite)) return undefined;
  const { h, p } = hessenberg(matrix);
  const t = h.map((row) => row.map((value): Complex => [value, 0]));
  const q = p.map((row) => row.map((value): Complex => [value, 0]));
  const negligible = (k: number) =>
    size(t[k]![k - 1]!) <= Number.EPSILON * (size(t[k]![k]!) + size(t[k - 1]![k - 1]!)) || size(t[k]![k - 1]!) < 1e-300;

  let high = count - 1;
  for (let iteration = 1; high > 0; iteration++) {
    if (iteration > 60 * count) return undefined;
    let low = high;
    while (low > 0 && !negligible(low)) low--;
    if (low > 0) t[low]![low - 1] = [0, 0];
    if (low === high) {
      high--;
      continue;
    }
    // now and then another shift, for matrices that the usual one turns in circles
    const shift: Complex = iteration % 11 === 0 ? [size(t[high]![high - 1]!), 0] : wilkinsonShift(t, high);
    qrStep({ t, q, low, high, shift });
  }
  return { t, q };
}

/** The eigenvalue of the trailing 2 x 2 block that is nearer to its corner. */
function wilkinsonShift(t: Complex[][], high: number): Complex {
  const [a, b, c, d] = [t[high - 1]![high - 1]!, t[high - 1]![high]!, t[high]![high - 1]!, t[high]![high]!];
  const half = scale(subtract(a, d), 0.5);
  const root = squareRoot(add(times(half, half), times(b, c)));
  const candidates = [add(half, root), subtract(half, root)].map((offset) => add(d, offset));
  return candidates.reduce((best, value) => (size(subtract(value, d)) < size(subtract(best, d)) ? value : best));
}

/** One shifted QR step on rows and columns low..high of a Hessenberg matrix, by Givens rotations. */
function qrStep(args: { t: Complex[][]; q: Complex[][]; low: number; high: number; shift: Complex }): void {
  const { t, q, low, high, shift } = args;
  for (let k = low; k <= high; k++) t[k]![k] = subtract(t[k]![k]!, shift);
  const rotations: { c: Complex; s: Complex }[] = [];
  for (let k = low; k < high; k++) {
    const [x, y] = [t[k]![k]!, t[k + 1]![k]!];
    const length = Math.hypot(size(x), size(y)) || 1;
    const rotation = { c: scale(conjugate(x), 1 / length), s: scale(conjugate(y), 1 / length) };
    const [up, down] = [t[k]!, t[k + 1]!];
    for (let j = k; j < t.length; j++) {
      const [a, b] = [up[j]!, down[j]!];
      up[j] = add(times(rotation.c, a), times(rotation.s, b));
      down[j] = subtract(times(conjugate(rotation.c), b), times(conjugate(rotation.s), a));
    }
    rotations.push(rotation);
  }
  rotations.forEach(({ c, s }, offset) => {
    const k = low + offset;
    for (const row of [...t.slice(0, Math.min(k + 2, high) + 1), ...q]) {
      const [a, b] = [row[k]!, row[k + 1]!];
      row[k] = add(times(a, conjugate(c)), times(b, conjugate(s)));
      row[k + 1] = subtract(times(b, c), times(a, s));
    }
  });
  for (let k = low; k <= high; k++) t[k]![k] = add(t[k]![k]!, shift);
}

/** Hessenberg h and orthogonal p with matrix = p h pᵀ, by Householder reflections. */
function hessenberg(matrix: SmallMatrix): { h: SmallMatrix; p: SmallMatrix } {
  const count = matrix.length;
  let h = matrix.map((row) => [...row]);
  let p = identity(count);
  for (let k = 0; k + 2 < count; k++) {
    const v = h.map((row, i) => (i > k ? row[k]! : 0));
    v[k + 1]! += (v[k + 1]! < 0 ? -1 : 1) * Math.hypot(...v);
    const square = v.reduce((total, value) => total + value * value, 0);
    if (square === 0) continue;
    const reflection = identity(count).map((row, i) => row.map((value, j) => value - (2 * v[i]! * v[j]!) / square));
    h = multiply(multiply(reflection, h), reflection);
    p = multiply(p, reflection);
  }
  return { h, p };
}

/** Re(W Λᵏ W⁻¹ v): a real power k > 0, principal branch, of a diagonalised matrix times a vector. */
export function matrixPowerTimes(args: Eigen & { power: number; vector: readonly number[] }): number[] {
  const { values, vectors } = args;
  const share = solveComplex(
    vectors,
    args.vector.map((value): Complex => [value, 0]),
  );
  const advanced = share.map((entry, k) => times(entry, power(values[k]!, args.power)));
  return vectors.map(
    (row) => row.reduce((total, entry, k) => add(total, times(entry, advanced[k]!)), [0, 0] as Complex)[0],
  );
}

/** Gaussian elimination with row pivots; a singular matrix gives non-finite numbers. */
function solveComplex(matrix: readonly (readonly Complex[])[], target: readonly Complex[]): Complex[] {
  const count = target.length;
  const rows = matrix.map((row, i) => [...row, target[i]!]);
  for (let k = 0; k < count; k++) {
    let pivot = k;
    for (let i = k + 1; i < count; i++) if (size(rows[i]![k]!) > size(rows[pivot]![k]!)) pivot = i;
    [rows[k], rows[pivot]] = [rows[pivot]!, rows[k]!];
    for (let i = k + 1; i < count; i++) {
      const factor = divide(rows[i]![k]!, rows[k]![k]!);
      rows[i] = rows[i]!.map((value, j) => (j < k ? value : subtract(value, times(factor, rows[k]![j]!))));
    }
  }
  const solution: Complex[] = new Array(count);
  for (let i = count - 1; i >= 0; i--) {
    let rest = rows[i]![count]!;
    for (let j = i + 1; j < count; j++) rest = subtract(rest, times(rows[i]![j]!, solution[j]!));
    solution[i] = divide(rest, rows[i]![i]!);
  }
  return solution;
}
