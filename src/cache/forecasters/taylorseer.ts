/**
 * TaylorSeer (arXiv 2503.06923): extrapolation by backward differences, as weights on the computed tensors.
 * The i-th difference divides by the latest gap for every order, as cache-dit does it. True divided differences
 * measured worse on uneven gaps: they extrapolate further, and the damping helps.
 */
import type { Forecaster } from './forecaster.ts';

export interface TaylorOptions {
  order: number;
  /** Steps after the first computed one up to which no difference is formed. Default 0. */
  lag?: number;
}

export function taylorSeer({ order, lag }: TaylorOptions): Forecaster {
  return {
    name: `taylorseer ${order}`,
    historySize: order + 1,
    needs: {},
    forecast: (input) => ({ weights: taylorWeights({ ...input, order, lag }) }),
  };
}

/**
 * Weights aᵢ of Σ Δⁿ(k) eⁿ / n!, where Δ⁰ are the tensors, Δⁿ(k) = (Δⁿ⁻¹(k) − Δⁿ⁻¹(k−1)) / (gap before k) and e is the
 * distance to the target. Orders for which too few tensors are remembered are left out. The weights add up to 1.
 */
export function taylorWeights(
  args: TaylorOptions & { positions: readonly number[]; first: number; target: number },
): Float64Array {
  const { positions, first, order, lag = 0 } = args;
  const count = positions.length;
  const elapsed = args.target - positions[0]!;
  const differs = (k: number) => positions[k]! - first > lag;

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
