/** Where the tokens of FLUX.2's texts and pictures are: (picture, row, column, place in the text). */
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';

/** How far apart reference pictures are from what is drawn, and from each other. */
const pictureStep = 10;

/** @param picture 0 for what is drawn, 1, 2, … for references */
export function pictureIds(rows: number, columns: number, picture = 0): Tensor {
  const ids = Array.from({ length: rows * columns }, (_, token) => {
    return [picture * pictureStep, Math.floor(token / columns), token % columns, 0];
  });
  return floatTensor(ids.flat(), [rows * columns, 4]);
}

export function textIds(tokens: number): Tensor {
  return floatTensor(Array.from({ length: tokens }, (_, place) => [0, 0, 0, place]).flat(), [tokens, 4]);
}
