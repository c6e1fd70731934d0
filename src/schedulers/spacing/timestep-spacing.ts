/** Which of the training timesteps a schedule visits. */
import * as z from 'zod';
import { roundHalfEven } from '../../tensor/rounding.ts';
import { linspace } from './sigma-spacing.ts';

export const timestepSpacing = z.enum(['linspace', 'leading', 'trailing']);

export interface TimestepSpacing {
  spacing: z.infer<typeof timestepSpacing>;
  count: number;
  trainSteps: number;
  /** Added to `leading` timesteps. */
  stepsOffset: number;
  /** Where to start, if not at `trainSteps`. */
  lastStep?: number;
  /** Lays out one timestep more and leaves the smallest one out, which multistep solvers reach by themselves. */
  openEnd?: boolean;
}

/** `count` decreasing timesteps (Lin et al. 2023, table 2); only `linspace` gives fractions. */
export function spaceTimesteps(options: TimestepSpacing): Float64Array {
  const { spacing, count, trainSteps, stepsOffset, lastStep = trainSteps, openEnd = false } = options;
  const points = count + (openEnd ? 1 : 0);
  switch (spacing) {
    case 'linspace':
      return linspace(0, lastStep - 1, points)
        .reverse()
        .slice(0, count);
    case 'leading': {
      const ratio = Math.floor(lastStep / points);
      return new Float64Array(count).map((_, i) => (points - 1 - i) * ratio + stepsOffset);
    }
    case 'trailing': {
      // The increment is rounded as NumPy's `arange` rounds it: that decides ties. (For some counts, such as 61,
      // rounding makes `arange` one longer than asked for and Diffusers ends at timestep -1; here it does not.)
      const increment = lastStep - trainSteps / count - lastStep;
      return new Float64Array(count).map((_, i) => roundHalfEven(lastStep + i * increment) - 1);
    }
  }
}

/** The fractional timestep with this noise level, by interpolation in log sigma; clamped to the ends of training. */
export function sigmaToTimestep(sigma: number, logSigmas: Float32Array): number {
  const logSigma = Math.log(Math.max(sigma, 1e-10));
  let low = logSigmas.findLastIndex((value) => value <= logSigma);
  low = Math.min(Math.max(low, 0), logSigmas.length - 2);
  const weight = (logSigmas[low]! - logSigma) / Math.fround(logSigmas[low]! - logSigmas[low + 1]!);
  const clamped = Math.min(Math.max(weight, 0), 1);
  return (1 - clamped) * low + clamped * (low + 1);
}

/** Training sigmas at fractional timesteps, by linear interpolation. */
export function sigmasAt(timesteps: ArrayLike<number>, trainingSigmas: Float32Array): Float64Array {
  return Float64Array.from(timesteps, (timestep) => {
    const low = Math.min(Math.max(Math.floor(timestep), 0), trainingSigmas.length - 1);
    const high = Math.min(low + 1, trainingSigmas.length - 1);
    const [from, to] = [trainingSigmas[low]!, trainingSigmas[high]!];
    return from + (to - from) * Math.min(Math.max(timestep - low, 0), 1);
  });
}
