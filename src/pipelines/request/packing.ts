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

/** Latents that are drawn as [B, C, rows, columns], of which each is a token. */
export function tokenLatents(drawn: readonly [number, number, number, number]): LatentLayout {
  const [batch, channels, rows, columns] = drawn;
  return {
    drawn,
    shape: [batch, rows * columns, channels],
    pack: packTokens,
    unpack: (tokens) => unpackTokens(tokens, rows, columns),
  };
}

/** [B, C, h, w] → [B, 4C, h/2, w/2], the channels in the order of `packLatents`. */
export function toPatches(latents: Tensor): Tensor {
  const [, , height, width] = dims(latents, 4);
  return unpackTokens(packLatents(latents), height / 2, width / 2);
}

/** [B, 4C, h/2, w/2] → [B, C, h, w]. */
export function fromPatches(patches: Tensor): Tensor {
  const [, , rows, columns] = dims(patches, 4);
  return unpackLatents(packTokens(patches), 2 * rows, 2 * columns);
}

/** [B, C, h, w] → [B, h·w, C]. */
export function packTokens(latents: Tensor): Tensor {
  const [batch, channels, height, width] = dims(latents, 4);
  return swapAxes(latents.f32, [batch, channels, height * width]);
}

/** [B, h·w, C] → [B, C, h, w]. */
export function unpackTokens(tokens: Tensor, height: number, width: number): Tensor {
  const [batch, count, channels] = dims(tokens, 3);
  return swapAxes(tokens.f32, [batch, count, channels]).reshape([batch, channels, height, width]);
}

/** [B, m, n] → [B, n, m]. */
function swapAxes(source: Float32Array, [batch, m, n]: [number, number, number]): Tensor {
  const swapped = new Float32Array(source.length);
  for (let b = 0; b < batch; b++)
    for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) swapped[(b * n + j) * m + i] = source[(b * m + i) * n + j]!;
  return floatTensor(swapped, [batch, n, m]);
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
