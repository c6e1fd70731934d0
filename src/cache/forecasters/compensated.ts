/**
 * Error-compensated Taylor (ours). A computed step shows how wrong the forecasts before it were: the true tensors of the skipped
 * steps can then be interpolated instead of extrapolated. What the sampler has integrated wrongly since, the sum of those
 * errors, is taken off the next forecasts, as compensated summation carries a rounding error on. All of it is linear in the
 * remembered tensors, so the forecast stays one weight for each.
 */
import type { Forecaster } from './forecaster.ts';
import { taylorWeights } from './taylorseer.ts';

export interface CompensatedOptions {
  /** Order of the Taylor forecast that is compensated. */
  order: number;
  /** Share of the open error that the next forecast takes off; the one after it, that share of the rest. */
  gain: number;
  /** Computed tensors remembered; older errors are forgotten with them. */
  history: number;
}

/** Points of the interpolation: a parabola through the computed step after the gap and the two before. */
const POINTS = 3;

export function compensated(options: CompensatedOptions): Forecaster {
  return {
    name: `compensated ${options.order}`,
    historySize: options.history,
    needs: {},
    forecast: (input) => ({ weights: compensatedWeights({ ...options, ...input }) }),
  };
}

/** Every step between two computed ones counts as forecast: that is what a step is that was not computed. */
export function compensatedWeights(
  args: CompensatedOptions & { positions: readonly number[]; first: number; target: number },
): Float64Array {
  const { positions, target, gain } = args;
  const count = positions.length;
  const debt = new Float64Array(count);
  for (let k = count - 1; k >= 0; k--) {
    // What was forecast between this computed step and the one before it, less what now is known to be nearer the truth.
    for (let step = (positions[k + 1] ?? positions[k]!) + 1; step < positions[k]!; step++) {
      add(debt, taylorFrom(k + 1, { ...args, target: step }), 1);
      add(debt, interpolation(positions, { from: k, target: step }), -1);
    }
    const end = k === 0 ? target : positions[k - 1]!;
    const repaid = (1 - gain) ** (end - positions[k]! - 1);
    for (let i = 0; i < count; i++) debt[i]! *= repaid;
  }
  const weights = taylorFrom(0, args);
  add(weights, debt, -gain);
  return weights;
}

/** Taylor's weights when `positions[newest]` was the latest computed step. */
function taylorFrom(
  newest: number,
  args: { positions: readonly number[]; first: number; target: number; order: number },
): Float64Array {
  const { positions, first, target, order } = args;
  const known = taylorWeights({ positions: positions.slice(newest, newest + order + 1), first, target, order });
  const weights = new Float64Array(positions.length);
  weights.set(known, newest);
  return weights;
}

/** Lagrange weights at `target` of the computed steps from index `from` on. */
function interpolation(positions: readonly number[], { from, target }: { from: number; target: number }): Float64Array {
  const weights = new Float64Array(positions.length);
  const end = Math.min(from + POINTS, positions.length);
  for (let i = from; i < end; i++) {
    let weight = 1;
    for (let j = from; j < end; j++) {
      if (j !== i) weight *= (target - positions[j]!) / (positions[i]! - positions[j]!);
    }
    weights[i] = weight;
  }
  return weights;
}

function add(sum: Float64Array, term: Float64Array, scale: number): void {
  for (let i = 0; i < sum.length; i++) sum[i]! += scale * term[i]!;
}
