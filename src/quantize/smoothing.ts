/**
 * Factors that inputs are divided by, and the weight's columns multiplied with, before a weight is quantised: SmoothQuant's
 * (arXiv 2211.10438), those that need no activations, and the relaxed ones of a few observed steps.
 */
import { DejaDitError } from '../errors/errors.ts';
import type { Matrix } from '../tensor/linear-algebra/matrix.ts';

export const smoothStrategies = ['identity', 'activation', 'weight', 'weight_inv', 'few_shot'] as const;
export type SmoothStrategy = (typeof smoothStrategies)[number];

export const relaxStrategies = ['fixed', 'top', 'auto', 'stable_auto', 'power', 'log', 'rank'] as const;
export type RelaxStrategy = (typeof relaxStrategies)[number];

export interface Relaxation {
  /** How much further than observed the largest channels may reach. At least 1. */
  factor: number;
  /** Share of the channels that counts as large. */
  topRatio: number;
  strategy: RelaxStrategy;
}

/** How difficulty is shared between activations (1) and weights (0). */
const alpha = 0.5;
/** Bounds of factors that no activation speaks for. */
const [lowest, highest] = [0.25, 4];

export interface SmoothingInput {
  strategy: SmoothStrategy;
  weight: Matrix;
  /** Largest magnitude of every input, for `activation` and `few_shot`. */
  activations?: Float32Array | undefined;
  relaxation: Relaxation;
}

/** One factor per input; undefined where the strategy changes nothing. */
export function smoothFactors({ strategy, weight, activations, relaxation }: SmoothingInput): Float32Array | undefined {
  switch (strategy) {
    case 'identity':
      return undefined;
    case 'activation':
      return balance(required(activations, strategy), columnPeaks(weight));
    case 'few_shot':
      return balance(relax(required(activations, strategy), relaxation), columnPeaks(weight));
    case 'weight':
    case 'weight_inv': {
      const factors = normalized(columnPeaks(weight).map((peak) => peak ** -(1 - alpha)));
      return strategy === 'weight' ? factors : factors.map((factor) => 1 / factor);
    }
    default:
      return strategy satisfies never;
  }
}

function required(activations: Float32Array | undefined, strategy: SmoothStrategy): Float32Array {
  if (activations) return activations;
  throw new DejaDitError('INVALID_CONFIG', `'${strategy}' needs activations: set calibrateFn`, {
    path: 'svdqKwargs.smoothStrategy',
  });
}

/** activation^α / weight^(1 − α); 1 where that is no usable factor. */
function balance(activations: Float32Array, weights: Float32Array): Float32Array {
  return activations.map((activation, i) => usable(activation ** alpha / weights[i]! ** (1 - alpha)));
}

/** Around 1 in the geometric mean, and not far from it. */
function normalized(factors: Float32Array): Float32Array {
  const valid = factors.filter((factor) => usable(factor) === factor);
  const mean = Math.exp(valid.reduce((sum, factor) => sum + Math.log(factor), 0) / Math.max(1, valid.length));
  return factors.map((factor) => Math.min(highest, Math.max(lowest, usable(factor / mean))));
}

function usable(factor: number): number {
  return factor > 0 && Number.isFinite(factor) ? factor : 1;
}

function columnPeaks({ data, rows, columns }: Matrix): Float32Array {
  const peaks = new Float32Array(columns);
  for (let i = 0; i < rows * columns; i++) {
    const column = i % columns;
    const magnitude = Math.abs(data[i]!);
    if (magnitude > peaks[column]!) peaks[column] = magnitude;
  }
  return peaks;
}

/**
 * Activation peaks with room for what a few steps have not shown: a·(1 + ρ·(factor − 1)), where ρ grows from 0 to 1 towards
 * the largest channels in the way of the strategy.
 */
export function relax(peaks: Float32Array, { factor, topRatio, strategy }: Relaxation): Float32Array {
  const sorted = Float32Array.from(peaks).sort();
  const smallest = sorted[0]!;
  const threshold = quantile(sorted, 1 - topRatio);
  const height = (peak: number) =>
    threshold <= smallest ? 1 : Math.min(1, Math.max(0, (peak - smallest) / (threshold - smallest)));
  const order = new Map<number, number>();
  if (strategy === 'rank') {
    const indices = Array.from(peaks.keys()).sort((a, b) => peaks[a]! - peaks[b]!);
    for (const [position, index] of indices.entries()) order.set(index, position / Math.max(1, peaks.length - 1));
  }
  const share = (peak: number, index: number): number => {
    switch (strategy) {
      case 'fixed':
        return 0;
      case 'top':
        return peak >= threshold ? 1 : 0;
      case 'auto':
        return height(peak);
      case 'stable_auto':
        return Math.floor(8 * height(peak) + 0.5) / 8;
      case 'power':
        return height(peak) ** 2;
      case 'log':
        return Math.log10(1 + 9 * height(peak));
      case 'rank':
        return Math.min(1, topRatio < 1 ? order.get(index)! / (1 - topRatio) : 1);
      default:
        return strategy satisfies never;
    }
  };
  return peaks.map((peak, i) => peak * (1 + share(peak, i) * (factor - 1)));
}

/** Linear between neighbours, as NumPy and PyTorch have it. */
function quantile(sorted: Float32Array, q: number): number {
  const at = q * (sorted.length - 1);
  const below = sorted[Math.floor(at)]!;
  return below + (at - Math.floor(at)) * (sorted[Math.ceil(at)]! - below);
}
