/** Weights of one UniPC step (Zhao et al. 2023, algorithms 5 to 8), for predictor and corrector alike. */
import type { NoiseLevel } from './solver-scheduler.ts';

export interface UniPCStep {
  to: NoiseLevel;
  from: NoiseLevel;
  /** Levels before `from` whose model outputs are used, latest first. */
  earlier: readonly NoiseLevel[];
  /** Whether the model output at `to` is known. */
  corrects: boolean;
  /** The function B(h): h itself or exp(h) - 1. */
  solverType: 'bh1' | 'bh2';
  predictsOriginal: boolean;
}

export interface UniPCWeights {
  sample: number;
  /** Of the model outputs at `from` and at the `earlier` levels. */
  outputs: number[];
  /** Of the model output at `to`. */
  atEnd: number;
}

export function uniPCWeights(step: UniPCStep): UniPCWeights {
  const { to, from, earlier, corrects, solverType, predictsOriginal } = step;
  const h = to.lambda - from.lambda;
  const signed = predictsOriginal ? -h : h;
  const scale = -(predictsOriginal ? to.alpha : to.sigma);
  const growth = Math.expm1(signed);
  const bh = solverType === 'bh1' ? signed : growth;
  const weights: UniPCWeights = {
    sample: predictsOriginal ? to.sigma / from.sigma : to.alpha / from.alpha,
    outputs: [scale * growth, ...earlier.map(() => 0)],
    atEnd: 0,
  };
  // Differences to the output at `from`, over their distance in units of h; the end of the step is at distance 1.
  const distances = earlier.map((level) => (level.lambda - from.lambda) / h);
  const rhos = differenceWeights(corrects ? [...distances, 1] : distances, { signed, bh });
  for (const [i, rho] of rhos.entries()) {
    const weight = (scale * bh * rho) / (distances[i] ?? 1);
    weights.outputs[0]! -= weight;
    if (i < distances.length) weights.outputs[i + 1] = weight;
    else weights.atEnd = weight;
  }
  return weights;
}

/** Solves for weights that make the step exact for polynomials in lambda; single ones are 1/2 by definition. */
function differenceWeights(distances: readonly number[], { signed, bh }: { signed: number; bh: number }): number[] {
  if (distances.length <= 1) return distances.map(() => 0.5);
  const rows = distances.map((_, power) => distances.map((distance) => distance ** power));
  const rightSide: number[] = [];
  let phi = Math.expm1(signed) / signed - 1;
  let factorial = 1;
  for (let i = 1; i <= distances.length; i++) {
    rightSide.push((phi * factorial) / bh);
    factorial *= i + 1;
    phi = phi / signed - 1 / factorial;
  }
  return solveLinear(rows, rightSide);
}

/** Gaussian elimination with row exchange. */
function solveLinear(matrix: readonly (readonly number[])[], rightSide: readonly number[]): number[] {
  const rows = matrix.map((row, i) => [...row, rightSide[i]!]);
  const size = rows.length;
  for (let pivot = 0; pivot < size; pivot++) {
    let largest = pivot;
    for (let i = pivot + 1; i < size; i++) {
      if (Math.abs(rows[i]![pivot]!) > Math.abs(rows[largest]![pivot]!)) largest = i;
    }
    [rows[pivot], rows[largest]] = [rows[largest]!, rows[pivot]!];
    for (let i = 0; i < size; i++) {
      if (i === pivot) continue;
      const factor = rows[i]![pivot]! / rows[pivot]![pivot]!;
      for (let j = pivot; j <= size; j++) rows[i]![j]! -= factor * rows[pivot]![j]!;
    }
  }
  return rows.map((row, i) => row[size]! / row[i]!);
}
