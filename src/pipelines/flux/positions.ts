/** Where the tokens of FLUX's texts and pictures are. */
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';

/** Positions (0, row, column) of `rows`·`columns` image tokens, counted from an origin. */
export function imageIds(rows: number, columns: number, origin: readonly [number, number, number] = [0, 0, 0]): Tensor {
  const [picture, top, left] = origin;
  const ids = Array.from({ length: rows * columns }, (_, token) => [
    picture,
    top + Math.floor(token / columns),
    left + (token % columns),
  ]);
  return floatTensor(ids.flat(), [rows * columns, 3]);
}

/** Text tokens all sit at position 0. */
export function textIds(tokens: number): Tensor {
  return floatTensor(new Float32Array(tokens * 3), [tokens, 3]);
}

/** Positions (0, place, place) of text, as LongCat-Image and Ovis-Image have them. */
export function diagonalIds(tokens: number): Tensor {
  return floatTensor(Array.from({ length: tokens }, (_, place) => [0, place, place]).flat(), [tokens, 3]);
}
