/** What Cosmos makes of times and masks on the host. */
import { DejaDitError } from '../../../errors/errors.ts';
import { type TokenTimes, tokenTimes } from '../../../nn/token-times.ts';
import { floatTensor, lastDims, type Tensor } from '../../../tensor/tensor.ts';
import type { InputValue } from '../../inputs.ts';

/** Frames a second that time positions count in. */
const BASE_FPS = 24;

/** The position of a frame in time; of a picture, which has no `fps`, its index. */
export function timePosition(frame: number, fps: InputValue): number {
  if (fps === undefined || fps === null) return frame;
  if (typeof fps === 'number' && fps > 0) return (frame / fps) * BASE_FPS;
  throw new DejaDitError('INVALID_ARGUMENT', 'expected a number of frames a second above 0', { path: 'fps' });
}

/** The times of tokens on a grid, from one per sample, [B], or one per frame, [B, 1, frames, 1, 1]. */
export function frameTimes(timestep: Tensor, [frames, rows, columns]: readonly [number, number, number]): TokenTimes {
  if (timestep.shape.length === 1) return tokenTimes(timestep, 1);
  const [batch, , given] = timestep.shape as [number, number, number];
  if (given !== frames) {
    throw new DejaDitError(
      'SHAPE_MISMATCH',
      `shape [${timestep.shape}], expected one time for each of ${frames} frames`,
      {
        path: 'timestep',
      },
    );
  }
  const cells = rows * columns;
  const times = Float32Array.from({ length: batch * frames * cells }, (_, i) => timestep.f32[Math.floor(i / cells)]!);
  return tokenTimes(floatTensor(times, [batch, frames * cells]), frames * cells);
}

/** A mask [1, 1, H, W] at another size, each pixel taken from where it falls. */
export function resizedNearest(mask: Tensor, [height, width]: readonly number[]): Tensor {
  const [fromHeight, fromWidth] = lastDims(mask, 2);
  const out = Float32Array.from({ length: height! * width! }, (_, i) => {
    const row = Math.floor((Math.floor(i / width!) * fromHeight) / height!);
    const column = Math.floor(((i % width!) * fromWidth) / width!);
    return mask.f32[row * fromWidth + column]!;
  });
  return floatTensor(out, [1, 1, height!, width!]);
}
