/** Positions of CogVideoX's rotary embedding, which its transformer is told. */
import { gridPositions, rotaryTables } from '../../nn/rotary.ts';
import { roundHalfEven } from '../../tensor/rounding.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';

export interface RotaryGrid {
  /** Tokens: frames, rows, columns. */
  grid: readonly [number, number, number];
  /** Of a head. */
  width: number;
  /** Rows and columns that the model was trained at, onto which those of the grid are spread. Version 1.5 counts from 0. */
  spreadOver: readonly [number, number] | undefined;
}

/** Cosines and sines [tokens, width], in which every angle stands twice. */
export function videoRotary({ grid, width, spreadOver }: RotaryGrid): [Tensor, Tensor] {
  const [frames, rows, columns] = grid;
  const places = spreadOver && spread([rows, columns], spreadOver);
  const positions = gridPositions([frames, rows, columns]).map((position) => {
    const [frame, row, column] = position as [number, number, number];
    return places ? [frame, places[0][row]!, places[1][column]!] : position;
  });
  const eighth = Math.floor(width / 8);
  const axesDim = [Math.floor(width / 4), 3 * eighth, 3 * eighth];
  const { cos, sin } = rotaryTables(positions, { axesDim, theta: 10000, precision: 'single' });
  const twice = (table: Tensor) =>
    floatTensor(
      Float32Array.from({ length: 2 * table.size }, (_, i) => table.f32[i >> 1]!),
      [table.dim(1), 2 * table.dim(2)],
    );
  return [twice(cos), twice(sin)];
}

/** Where rows and columns are in a picture of the trained size, in which the grid is as large as it can be, in the middle. */
function spread(
  [rows, columns]: readonly [number, number],
  [trainedRows, trainedColumns]: readonly [number, number],
): [number[], number[]] {
  const isTall = rows / columns > trainedRows / trainedColumns;
  const height = isTall ? trainedRows : roundHalfEven((trainedColumns / columns) * rows);
  const width = isTall ? roundHalfEven((trainedRows / rows) * columns) : trainedColumns;
  const axis = (count: number, size: number, trained: number) => {
    const first = roundHalfEven((trained - size) / 2);
    const last = ((first + size) * (count - 1)) / count;
    return Array.from({ length: count }, (_, i) => (count === 1 ? first : first + (i * (last - first)) / (count - 1)));
  };
  return [axis(rows, height, trainedRows), axis(columns, width, trainedColumns)];
}
