/**
 * Timesteps that differ from token to token, as when a given first frame stays clean. Few of them are distinct, so only those are
 * embedded, and each token picks its row (see `perToken`).
 */
import { floatTensor, intTensor, type Tensor } from '../tensor/tensor.ts';

export interface TokenTimes {
  /** [R]: one per sample, or the distinct ones. */
  timestep: Tensor;
  /** [B, S]: each token's row; absent where every sample has one timestep. */
  temb_rows?: Tensor;
}

/** @param timestep [B] or [B, S] */
export function tokenTimes(timestep: Tensor): TokenTimes {
  if (timestep.shape.length === 1) return { timestep };
  const times = Array.from(timestep.float().data as Float32Array);
  const distinct = [...new Set(times)];
  const row = new Map(distinct.map((time, i) => [time, i]));
  return {
    timestep: floatTensor(distinct),
    temb_rows: intTensor(
      times.map((time) => row.get(time)!),
      timestep.shape,
    ),
  };
}
