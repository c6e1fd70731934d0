/** FLUX packs 2×2 latent pixels into one token, and gives every token a position. */
import { dims, floatTensor, type Tensor } from '../../tensor/tensor.ts';

/** [B, C, h, w] → [B, h/2·w/2, 4C]; the channels of a token are ordered (c, row, column). */
export function packLatents(latents: Tensor): Tensor {
  return repack(latents, dims(latents, 4), 'pack');
}

/** [B, h/2·w/2, 4C] → [B, C, h, w]. */
export function unpackLatents(tokens: Tensor, height: number, width: number): Tensor {
  const [batch, , channels] = dims(tokens, 3);
  return repack(tokens, [batch, channels / 4, height, width], 'unpack');
}

function repack(
  source: Tensor,
  [batch, channels, height, width]: [number, number, number, number],
  direction: 'pack' | 'unpack',
): Tensor {
  const from = source.f32;
  const to = new Float32Array(from.length);
  const [rows, columns] = [height / 2, width / 2];
  let pixel = 0;
  for (let b = 0; b < batch; b++) {
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++, pixel++) {
          const token = (b * rows + (y >> 1)) * columns + (x >> 1);
          const packed = token * channels * 4 + c * 4 + (y & 1) * 2 + (x & 1);
          if (direction === 'pack') to[packed] = from[pixel]!;
          else to[pixel] = from[packed]!;
        }
      }
    }
  }
  return floatTensor(
    to,
    direction === 'pack' ? [batch, rows * columns, channels * 4] : [batch, channels, height, width],
  );
}

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
