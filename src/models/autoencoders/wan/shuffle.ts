/** Pixels to channels and back, for videos x [B, C, T, H, W]. No weights. */
import { pad } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';

type VideoShape = [number, number, number, number, number];

/** Moves the pixels of patch×patch squares into channels; columns count before rows. */
export function toPatches(x: SymbolicTensor, patch: number): SymbolicTensor {
  if (patch === 1) return x;
  const [batch, channels, time, height, width] = x.shape as VideoShape;
  return x
    .reshape([batch, channels, time, height / patch, patch, width / patch, patch])
    .transpose([0, 1, 6, 4, 2, 3, 5])
    .reshape([batch, channels * patch ** 2, time, height / patch, width / patch]);
}

/** The inverse of `toPatches`. */
export function fromPatches(x: SymbolicTensor, patch: number): SymbolicTensor {
  if (patch === 1) return x;
  const [batch, channels, time, height, width] = x.shape as VideoShape;
  return x
    .reshape([batch, channels / patch ** 2, patch, patch, time, height, width])
    .transpose([0, 1, 4, 5, 3, 6, 2])
    .reshape([batch, channels / patch ** 2, time, height * patch, width * patch]);
}

export interface ScaleOptions {
  /** Channels of the result. */
  width: number;
  time: number;
  space: number;
}

/** Moves time×space×space neighbours into channels, then averages groups of channels. Time is padded with zeros at its beginning. */
export function averageDown(x: SymbolicTensor, { width, time, space }: ScaleOptions): SymbolicTensor {
  const missing = (time - (x.dim(2) % time)) % time;
  const padded = pad(x, [0, 0, missing, 0, 0, 0, 0, 0, 0, 0]);
  const [batch, channels, frames, height, columns] = padded.shape as VideoShape;
  const size = [frames / time, height / space, columns / space] as const;
  return padded
    .reshape([batch, channels, size[0], time, size[1], space, size[2], space])
    .transpose([0, 1, 3, 5, 7, 2, 4, 6])
    .reshape([batch, width, (channels * time * space ** 2) / width, ...size])
    .mean(2, false);
}

/** Repeats channels, then moves groups of them to time×space×space neighbours. */
export function repeatUp(x: SymbolicTensor, { width, time, space }: ScaleOptions): SymbolicTensor {
  const [batch, channels, frames, height, columns] = x.shape as VideoShape;
  const repeats = (width * time * space ** 2) / channels;
  return x
    .unsqueeze(2)
    .expand([batch, channels, repeats, frames, height, columns])
    .reshape([batch, width, time, space, space, frames, height, columns])
    .transpose([0, 1, 5, 2, 6, 3, 7, 4])
    .reshape([batch, width, frames * time, height * space, columns * space]);
}
