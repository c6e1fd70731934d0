/** Ways to spread noise levels between a largest and a smallest one, in double precision. */

import type { SigmaSpacing } from '../config.ts';
import { betaQuantile } from './beta-quantile.ts';

/** `count` evenly spaced numbers from `start` to `end`, both included, as NumPy's `linspace`. */
export function linspace(start: number, end: number, count: number): Float64Array {
  const step = count > 1 ? (end - start) / (count - 1) : 0;
  return new Float64Array(count).map((_, i) => (i > 0 && i === count - 1 ? end : start + i * step));
}

export interface SigmaRange {
  max: number;
  min: number;
  count: number;
}

/** `count` noise levels from `max` down to `min`. */
export function spaceSigmas(spacing: SigmaSpacing, { max, min, count }: SigmaRange): Float64Array {
  switch (spacing) {
    case 'karras': {
      // Karras et al. 2022, https://arxiv.org/abs/2206.00364, equation 5: evenly spaced in sigma^(1/rho).
      const rho = 7;
      const [from, to] = [max ** (1 / rho), min ** (1 / rho)];
      return linspace(0, 1, count).map((ramp) => (from + ramp * (to - from)) ** rho);
    }
    case 'exponential':
      return linspace(Math.log(max), Math.log(min), count).map(Math.exp);
    case 'beta':
      // Lee et al. 2024, https://arxiv.org/abs/2407.12173: dense at both ends, by a Beta(0.6, 0.6) distribution.
      return linspace(0, 1, count).map((ramp) => min + betaQuantile(1 - ramp, 0.6) * (max - min));
  }
}
