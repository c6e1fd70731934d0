/**
 * Inner products of remembered tensors, and what can be told from them alone: how far a forecast misses what is known,
 * and the weights that miss it least. Only these few scalars leave the device.
 */
import { solveSymmetric } from '../../tensor/linear-algebra/small-matrix.ts';

/**
 * Symmetric matrix of the inner products of x₀, x₁ − x₀, x₂ − x₀, ..., x₀ being the newest remembered tensor; where the
 * tensor of the present step is known too (the probe), its difference from x₀ is the last one. Differences, because
 * snapshots are much alike: products of the tensors themselves would lose in float32 what distinguishes them.
 */
export type Gram = readonly (readonly number[])[];

/** Inner products of x₀, x₁, ... themselves from those of the differences. */
export function plainGram(gram: Gram): number[][] {
  const [base = []] = gram;
  return gram.map((row, i) =>
    row.map((value, j) => {
      if (i === 0) return j === 0 ? value : base[0]! + base[j]!;
      return j === 0 ? base[0]! + base[i]! : base[0]! + base[i]! + base[j]! + value;
    }),
  );
}

/**
 * Relative error ‖x − Σ wᵢ xᵢ‖ / ‖x‖ of a forecast for the present tensor x, the last one of `gram`. With the probe's
 * Gram this is the part of the forecast's error that a step can see before it decides. NaN if x is zero.
 */
export function innovation(weights: ArrayLike<number>, gram: Gram): number {
  const last = gram.length - 1;
  const error = new Array<number>(gram.length).fill(0);
  error[0] = 1;
  error[last] = 1;
  for (let i = 0; i < weights.length; i++) {
    error[0]! -= weights[i]!;
    if (i > 0) error[i]! -= weights[i]!;
  }
  const present = gram[0]![0]! + 2 * gram[0]![last]! + gram[last]![last]!;
  return Math.sqrt(Math.max(quadratic(error, gram), 0) / present);
}

function quadratic(vector: readonly number[], gram: Gram): number {
  let total = 0;
  for (let i = 0; i < vector.length; i++) {
    for (let j = 0; j < vector.length; j++) total += vector[i]! * gram[i]![j]! * vector[j]!;
  }
  return total;
}

/**
 * `prior` weights corrected towards the present tensor x, the last one of `gram`: w = prior + Σ cᵢ (eᵢ − e₀) with
 * c = argmin ‖x − Σ wᵢ xᵢ‖² + λ · mean‖xᵢ − x₀‖² · ‖c‖² over the older tensors, times `gain`. `prior` must add up to 1.
 * With the probe's Gram this corrects a forecast while it is made; with Grams of the true tensors, summed over
 * recorded runs, it fits weights beforehand.
 */
export function correctedWeights(args: {
  prior: Float64Array;
  gram: Gram;
  lambda: number;
  gain?: number;
}): Float64Array {
  const { prior, gram, lambda, gain = 1 } = args;
  const last = gram.length - 1;
  const older = prior.length - 1;
  const weights = Float64Array.from(prior);
  const meanSquare = range(older).reduce((total, i) => total + gram[i + 1]![i + 1]! / older, 0);
  if (!(meanSquare > 0)) return weights;

  const matrix = range(older).map((i) =>
    range(older).map((j) => gram[i + 1]![j + 1]! + (i === j ? lambda * meanSquare : 0)),
  );
  const missed = range(older).map((i) =>
    range(older).reduce((rest, j) => rest - prior[j + 1]! * gram[i + 1]![j + 1]!, gram[i + 1]![last]!),
  );
  solveSymmetric(matrix, missed).forEach((correction, i) => {
    weights[0]! -= gain * correction;
    weights[i + 1]! += gain * correction;
  });
  return weights;
}

const range = (length: number) => Array.from({ length }, (_, i) => i);
