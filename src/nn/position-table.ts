/** Learned or stored tables of positions on a square grid, of which a smaller grid of tokens takes a window. */
import type { SymbolicTensor } from '../graph/symbolic.ts';

export interface TableWindow {
  /** Rows and columns of the table. */
  edge: number;
  /** Rows and columns of tokens. */
  grid: readonly [number, number];
  /** The row and column of the table that the first token takes. */
  corner: readonly [number, number];
}

/** The part of a table [1, edge², D] that a grid of tokens takes: [1, rows · columns, D]. */
export function tableWindow(table: SymbolicTensor, { edge, grid, corner }: TableWindow): SymbolicTensor {
  const [rows, columns] = grid;
  const [top, left] = corner;
  return table
    .reshape([edge, edge, table.dim(-1)])
    .slice(0, top, top + rows)
    .slice(1, left, left + columns)
    .reshape([1, rows * columns, table.dim(-1)]);
}
