/** Quantiles of symmetric beta distributions, which the beta spacing of noise levels needs. */

/**
 * The x with P(X <= x) = `probability` for X distributed as Beta(shape, shape).
 * Accurate to about 1e-14 for shapes around 1.
 */
export function betaQuantile(probability: number, shape: number): number {
  if (probability > 0.5) return 1 - betaQuantile(1 - probability, shape);
  if (probability <= 0) return 0;
  const target = probability * 2 * incompleteBeta(0.5, shape);
  // Newton's method, from the first term of the series.
  let x = Math.min((target * shape) ** (1 / shape), 0.5);
  for (let i = 0; i < 50; i++) {
    const slope = x ** (shape - 1) * (1 - x) ** (shape - 1);
    const next = Math.min(Math.max(x - (incompleteBeta(x, shape) - target) / slope, x / 2), 0.5);
    const moved = Math.abs(next - x);
    x = next;
    if (moved <= Number.EPSILON * x) break;
  }
  return x;
}

/** Integral of (t (1 - t))^(shape - 1) from 0 to x, for x <= 1/2, by the binomial series of (1 - t)^(shape - 1). */
function incompleteBeta(x: number, shape: number): number {
  let power = x ** shape;
  let sum = 0;
  for (let n = 0; ; n++) {
    const term = power / (shape + n);
    sum += term;
    if (Math.abs(term) <= sum * 1e-17) return sum;
    power *= ((1 - shape + n) / (n + 1)) * x;
  }
}
