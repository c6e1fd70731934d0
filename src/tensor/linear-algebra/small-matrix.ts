/**
 * Matrices of a handful of rows, in double precision: what the Gram matrices of a few snapshots need. Matrices of weights are in
 * `matrix.ts`.
 */

/** Rows of equal length. */
export type SmallMatrix = number[][];
export const multiply = (a: SmallMatrix, b: SmallMatrix): SmallMatrix => {
  const columns = transpose(b);
  return a.map((row) => columns.map((column) => row.reduce((total, value, k) => total + value * column[k]!, 0)));
};

export const transpose = (a: SmallMatrix): SmallMatrix => (a[0] ?? []).map((_, j) => a.map((row) => row[j]!));

export const identity = (size: number): SmallMatrix =>
  Array.from({ length: size }, (_, i) => Array.from({ length: size }, (_, j) => (i === j ? 1 : 0)));

/**
 * Solution of a symmetric positive (semi-)definite system by Gaussian elimination with diagonal pivots; directions
 * without weight get 0.
 */
export function solveSymmetric(matrix: SmallMatrix, target: readonly number[]): number[] {
  const rows = matrix.map((row, i) => [...row, target[i]!]);
  const free = new Set(rows.keys());
  const floor = 1e-14 * Math.max(...rows.map((row, i) => row[i]!));
  const order: number[] = [];
  while (free.size > 0) {
    const pivot = [...free].reduce((best, i) => (rows[i]![i]! > rows[best]![best]! ? i : best));
    if (!(rows[pivot]![pivot]! > floor)) break;
    free.delete(pivot);
    order.push(pivot);
    for (const i of free) {
      const factor = rows[i]![pivot]! / rows[pivot]![pivot]!;
      rows[i] = rows[i]!.map((value, j) => value - factor * rows[pivot]![j]!);
    }
  }
  const solution = new Array<number>(target.length).fill(0);
  for (const pivot of order.reverse()) {
    const row = rows[pivot]!;
    const known = solution.reduce((total, value, j) => total + (j === pivot ? 0 : row[j]! * value), 0);
    solution[pivot] = (row[target.length]! - known) / row[pivot]!;
  }
  return solution;
}
