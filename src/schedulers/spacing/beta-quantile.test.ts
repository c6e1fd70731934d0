import { expect, it } from 'vitest';
import { betaQuantile } from './beta-quantile.ts';

// Recorded with scipy.stats.beta.ppf(p, 0.6, 0.6).
it.each([
  [0, 0],
  [1e-6, 1.8558824624053043e-10],
  [0.01, 0.0008612388215429059],
  [0.25, 0.17568037865269498],
  [0.5, 0.5],
  [0.9, 0.9604155944112192],
  [0.999999, 0.9999999998144118],
  [1, 1],
])('quantile %d of Beta(0.6, 0.6)', (probability, expected) => {
  expect(Math.abs(betaQuantile(probability, 0.6) - expected)).toBeLessThanOrEqual(1e-14 * expected);
});

it('is closed form for the uniform and the arcsine distribution', () => {
  for (let p = 0; p <= 1; p += 1 / 64) {
    expect(betaQuantile(p, 1)).toBeCloseTo(p, 14);
    expect(betaQuantile(p, 0.5)).toBeCloseTo(Math.sin((Math.PI * p) / 2) ** 2, 13);
  }
});
