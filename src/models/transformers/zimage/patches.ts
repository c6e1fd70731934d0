/** Images of different sizes as rows of patch values and back, on the host. */
import { DejaDitError } from '../../../errors/errors.ts';
import { dims, floatTensor, type Shape, type Tensor } from '../../../tensor/tensor.ts';

/** Frames, rows and columns. */
export type Patch = readonly [number, number, number];

export interface Patches {
  /** [tokens, patch · C], channels last. */
  tokens: Tensor;
  /** Tokens along frames, rows and columns. */
  grid: readonly number[];
}

/** @param image [C, frames, rows, columns] */
export function toPatches(image: Tensor, patch: Patch): Patches {
  const [channels, ...size] = dims(image, 4);
  if (size.some((length, axis) => length % patch[axis]! !== 0)) {
    throw new DejaDitError(
      'SHAPE_MISMATCH',
      `an image [${image.shape}], expected frames, rows and columns that are multiples of [${patch}]`,
      { path: 'x' },
    );
  }
  const values = image.f32;
  const tokens = Float32Array.from(patchOrder(image.shape, patch), (at) => values[at]!);
  const width = channels * product(patch);
  const grid = size.map((length, axis) => length / patch[axis]!);
  return { tokens: floatTensor(tokens, [product(grid), width]), grid };
}

/** The image of `shape` in the first tokens of sample `index` of [B, tokens, patch · C]. */
export function fromPatches(
  sample: Tensor,
  { index, shape, patch }: { index: number; shape: Shape; patch: Patch },
): Tensor {
  const values = sample.f32;
  const start = index * (sample.size / sample.dim(0));
  const order = patchOrder(shape, patch);
  const image = new Float32Array(order.length);
  for (const [i, at] of order.entries()) image[at] = values[start + i]!;
  return floatTensor(image, shape);
}

/** For every value of the tokens, in order, its index in the image [C, F, H, W]. */
function patchOrder(shape: Shape, [pf, ph, pw]: Patch): Int32Array {
  const [channels, frames, rows, columns] = dims({ shape }, 4);
  const order = new Int32Array(channels * frames * rows * columns);
  let at = 0;
  for (let f = 0; f < frames; f += pf)
    for (let h = 0; h < rows; h += ph)
      for (let w = 0; w < columns; w += pw)
        for (let i = f; i < f + pf; i++)
          for (let j = h; j < h + ph; j++)
            for (let k = w; k < w + pw; k++)
              for (let c = 0; c < channels; c++) order[at++] = ((c * frames + i) * rows + j) * columns + k;
  return order;
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((result, size) => result * size, 1);
}
