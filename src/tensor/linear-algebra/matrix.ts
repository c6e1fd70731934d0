/** Matrices of the size of weights: float32 as they are stored, summed up in double precision. */
import { dims, type Tensor } from '../tensor.ts';

/** Row-major float32 [rows, columns]; of a linear layer: [out, in]. */
export interface Matrix {
  readonly data: Float32Array;
  readonly rows: number;
  readonly columns: number;
}

export function matrix(rows: number, columns: number, data: Float32Array = new Float32Array(rows * columns)): Matrix {
  return { data, rows, columns };
}

/** A float32 tensor [rows, columns] as a matrix, not copied. */
export function matrixOf(tensor: Tensor): Matrix {
  const [rows, columns] = dims(tensor, 2);
  return matrix(rows, columns, tensor.f32);
}

/** An orthonormal basis of the columns' space, as columns: Gram and Schmidt's method, twice for accuracy. */
export function orthonormalColumns({ data, rows, columns }: Matrix): Matrix {
  const basis = Array.from({ length: columns }, (_, j) =>
    Float64Array.from({ length: rows }, (_, i) => data[i * columns + j]!),
  );
  for (const [j, column] of basis.entries()) {
    const before = Math.sqrt(dot(column, column));
    for (let pass = 0; pass < 2; pass++) {
      for (const earlier of basis.slice(0, j)) subtract(column, earlier, dot(column, earlier));
    }
    const length = Math.sqrt(dot(column, column));
    // What is left of a column in the span of the earlier ones is rounding noise.
    const factor = length > 1e-12 * before ? 1 / length : 0;
    for (let i = 0; i < rows; i++) column[i]! *= factor;
  }
  const result = matrix(rows, columns);
  for (const [j, column] of basis.entries()) for (let i = 0; i < rows; i++) result.data[i * columns + j] = column[i]!;
  return result;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function subtract(from: Float64Array, direction: Float64Array, amount: number): void {
  for (let i = 0; i < from.length; i++) from[i]! -= amount * direction[i]!;
}

/** m · mᵀ of the rows, in double precision: [rows, rows], symmetric. */
export function gram({ data, rows, columns }: Matrix): Float64Array {
  const wide = Float64Array.from(data);
  const result = new Float64Array(rows * rows);
  for (let i = 0; i < rows; i++) {
    const a = wide.subarray(i * columns, (i + 1) * columns);
    for (let j = 0; j <= i; j++) {
      const product = dot(a, wide.subarray(j * columns, (j + 1) * columns));
      result[i * rows + j] = product;
      result[j * rows + i] = product;
    }
  }
  return result;
}

export function transpose({ data, rows, columns }: Matrix): Matrix {
  const result = matrix(columns, rows);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) result.data[j * rows + i] = data[i * columns + j]!;
  return result;
}

/** a · b, summed in single precision: for matrices of which one is thin. */
export function multiply(a: Matrix, b: Matrix): Matrix {
  const result = matrix(a.rows, b.columns);
  for (let i = 0; i < a.rows; i++) {
    const row = result.data.subarray(i * b.columns, (i + 1) * b.columns);
    for (let k = 0; k < a.columns; k++) {
      const factor = a.data[i * a.columns + k]!;
      const other = b.data.subarray(k * b.columns, (k + 1) * b.columns);
      for (let j = 0; j < row.length; j++) row[j]! += factor * other[j]!;
    }
  }
  return result;
}

/** The Kronecker product a ⊗ b: each element of a times all of b. */
export function kronecker(a: Matrix, b: Matrix): Matrix {
  const result = matrix(a.rows * b.rows, a.columns * b.columns);
  for (let i = 0; i < result.rows; i++) {
    const [rowA, rowB] = [Math.floor(i / b.rows) * a.columns, (i % b.rows) * b.columns];
    for (let j = 0; j < result.columns; j++) {
      const [columnA, columnB] = [Math.floor(j / b.columns), j % b.columns];
      result.data[i * result.columns + j] = a.data[rowA + columnA]! * b.data[rowB + columnB]!;
    }
  }
  return result;
}
