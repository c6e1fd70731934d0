/**
 * The steps of DPM-Solver (Lu et al. 2022, https://arxiv.org/abs/2206.00927) and DPM-Solver++
 * (https://arxiv.org/abs/2211.01095), as weights of what is summed up.
 */
import type { NoiseLevel } from './solver-scheduler.ts';

/** `++` steps in the clean sample, the others in the noise; `sde-` adds fresh noise. */
export type DPMSolverAlgorithm = 'dpmsolver' | 'dpmsolver++' | 'sde-dpmsolver' | 'sde-dpmsolver++';

export interface DPMSolverWeights {
  sample: number;
  /** Of the Taylor expansion in lambda around the starting level: value, first and second derivative times powers of h. */
  d0: number;
  d1: number;
  d2: number;
  /** Of the first derivative by the midpoint rule, in place of `d1`. */
  d1Midpoint: number;
  noise: number;
}

/** Weights for a step between two noise levels. Those of the derivatives mean nothing for a step to sigma 0. */
export function dpmSolverWeights(
  algorithm: DPMSolverAlgorithm,
  { from, to }: { from: NoiseLevel; to: NoiseLevel },
): DPMSolverWeights {
  const h = to.lambda - from.lambda;
  const inOriginal = algorithm === 'dpmsolver++' || algorithm === 'sde-dpmsolver++';
  const stochastic = algorithm === 'sde-dpmsolver' || algorithm === 'sde-dpmsolver++';
  // All four are one integral of exp(x) over [0, u], scaled.
  const u = inOriginal ? (stochastic ? -2 * h : -h) : h;
  const scale = inOriginal ? -to.alpha : stochastic ? -2 * to.sigma : -to.sigma;
  const value = Math.expm1(u);
  return {
    sample: inOriginal ? (to.sigma / from.sigma) * (stochastic ? Math.exp(-h) : 1) : to.alpha / from.alpha,
    d0: scale * value,
    d1: scale * (value / u - 1),
    d2: scale * ((value - u) / u ** 2 - 0.5),
    d1Midpoint: 0.5 * scale * value,
    noise: stochastic ? to.sigma * Math.sqrt(inOriginal ? -Math.expm1(-2 * h) : Math.expm1(2 * h)) : 0,
  };
}
