/** Where the tokens of FLUX's texts and pictures are. */
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';

/** Positions (0, row, column) of `rows`·`columns` image tokens. */
export function imageIds(rows: number, columns: number): Tensor {
  const ids = new Float32Array(rows * columns * 3);
  for (let token = 0; token < rows * columns; token++) {
    ids[token * 3 + 1] = Math.floor(token / columns);
    ids[token * 3 + 2] = token % columns;
  }
  return floatTensor(ids, [rows * columns, 3]);
}

/** Text tokens all sit at position 0. */
export function textIds(tokens: number): Tensor {
  return floatTensor(new Float32Array(tokens * 3), [tokens, 3]);
}
