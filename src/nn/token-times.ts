/**
 * Timesteps that differ from token to token, as when a given first frame stays clean. Few of them are distinct, so only those are
 * embedded, and each token picks its row (see `perToken`).
 */
import { DejaDitError } from '../errors/errors.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import { floatTensor, intTensor, type Tensor } from '../tensor/tensor.ts';

export interface TokenTimes {
  /** [R]: one per sample, or the distinct ones. */
  timestep: Tensor;
  /** [B, S]: each token's row; absent where every sample has one timestep. */
  temb_rows?: Tensor;
}

/**
 * @param timestep [B], [B, 1] or [B, S]
 * @param tokens S
 * @throws DejaDitError SHAPE_MISMATCH that names `timestep`
 */
export function tokenTimes(timestep: Tensor, tokens: number): TokenTimes {
  const [batch = 1, perSample = 1] = timestep.shape;
  if (perSample === 1) return { timestep: timestep.reshape([batch]) };
  if (perSample !== tokens) {
    throw new DejaDitError(
      'SHAPE_MISMATCH',
      `shape [${timestep.shape}], expected [${batch}] or [${batch}, ${tokens}]`,
      {
        path: 'timestep',
      },
    );
  }
  const times = Array.from(timestep.float().f32);
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

/**
 * For models that embed two times, the call's and 0, as rows [now of each sample, 0 of each sample]: the row of every token.
 * @param clean which tokens of a sample are given, and therefore at time 0
 * @returns [B, S]
 */
export function cleanTokenRows(batch: number, clean: readonly boolean[]): Tensor {
  const rows = Array.from({ length: batch }, (_, sample) =>
    clean.map((isClean) => (isClean ? batch + sample : sample)),
  );
  return intTensor(rows.flat(), [batch, clean.length]);
}

/** Of such rows [2·B, D], or of plain [B, D], those of the call's own time, one per sample of `hidden` [B, S, D]. */
export function currentTime(temb: SymbolicTensor, hidden: SymbolicTensor): SymbolicTensor {
  return temb.slice(0, 0, hidden.dim(0));
}
