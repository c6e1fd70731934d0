/** Many transformers take 2×2 latent pixels as one token. */
import { dims, floatTensor, type Tensor } from '../../tensor/tensor.ts';
import type { LatentLayout } from './plan.ts';

/** Latents that are drawn as [B, C, rows, columns] and taken as tokens. */
export function packedLatents(drawn: readonly [number, number, number, number]): LatentLayout {
  const [batch, channels, rows, columns] = drawn;
  return {
    drawn,
    shape: [batch, (rows * columns) / 4, 4 * channels],
    pack: packLatents,
    unpack: (tokens) => unpackLatents(tokens, rows, columns),
  };
}

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
