/**
 * TaylorSeer (arXiv 2503.06923): extrapolation by backward differences, as weights on the computed tensors.
 * The i-th difference divides by the latest gap for every order, as cache-dit does it. True divided differences
 * measured worse on uneven gaps: they extrapolate further, and the damping helps.
 */
import type { Forecaster } from './forecaster.ts';

/** cache-dit's own step counter starts one late and waits for a value above 1: no difference before the 4th step. */
const COMPAT_LAG = 2;

export interface TaylorOptions {
  order: number;
  compat?: 'cache-dit' | null;
}

export function taylorSeer({ order, compat = null }: TaylorOptions): Forecaster {
  return {
    name: `taylorseer ${order}`,
    historySize: order + 1,
    needs: {},
    forecast: (input) => ({ weights: taylorWeights({ ...input, order, compat }) }),
  };
}

/**
 * Weights aᵢ of Σ Δⁿ(k) eⁿ / n!, where Δ⁰ are the tensors, Δⁿ(k) = (Δⁿ⁻¹(k) − Δⁿ⁻¹(k−1)) / (gap before k) and e is the
 * distance to the target. Orders for which too few tensors are remembered are left out. The weights add up to 1.
 */
export function taylorWeights(
  args: TaylorOptions & { positions: readonly number[]; first: number; target: number },
): Float64Array {
  const { positions, first, order } = args;
  const count = positions.length;
  const elapsed = args.target - positions[0]!;
  const differs = (k: number) => !args.compat || positions[k]! - first > COMPAT_LAG;

  // ladder[k] holds the weights of the n-th difference at the k-th newest tensor, as far as it exists
  let ladder: Float64Array[] = positions.map((_, k) => Float64Array.from(positions, (_, j) => (j === k ? 1 : 0)));
  const weights = new Float64Array(count);
  for (let n = 0, scale = 1; ladder.length > 0; n++, scale *= elapsed / n) {
    for (let j = 0; j < count; j++) weights[j]! += scale * ladder[0]![j]!;
    if (n === order) break;
    const next: Float64Array[] = [];
    for (let k = 0; k + 1 < ladder.length && differs(k); k++) {
      const gap = positions[k]! - positions[k + 1]!;
      next.push(ladder[k]!.map((weight, j) => (weight - ladder[k + 1]![j]!) / gap));
    }
    ladder = next;
  }
  return weights;
}
