/**
 * Sines for devices that have none in their set of operators. Angles of a timestep reach a thousand, so they are first brought to
 * ±π/2 in a way that keeps float32's digits (Cody and Waite's): π is taken off in three parts, of which the first two are so short that
 * their products are exact.
 */
import type { SymbolicTensor } from '../symbolic.ts';

/** π in parts of 8 and 11 bits, and the rest. Exact for angles up to 2^13 · π. */
const first = 3.140625;
const second = Math.round((Math.PI - first) * 2 ** 21) / 2 ** 21;
const parts = [first, second, Math.PI - first - second];

/** Of sin r = r + r³·(c₀ + r²·(c₁ + …)): Taylor's, whose first missing term is below 1e-9 at π/2. */
const coefficients = [-1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800, 1 / 6227020800];

/** sin(k·π + r) = (−1)^k · sin r. */
export function sine(x: SymbolicTensor): SymbolicTensor {
  const turns = floor(x.mul(1 / Math.PI).add(0.5));
  return sineNearZero(without(x, turns)).mul(sign(turns));
}

/** cos((k + ½)·π + r) = −(−1)^k · sin r. */
export function cosine(x: SymbolicTensor): SymbolicTensor {
  const turns = floor(x.mul(1 / Math.PI));
  return sineNearZero(without(x, turns.add(0.5))).mul(sign(turns).neg());
}

function without(x: SymbolicTensor, turns: SymbolicTensor): SymbolicTensor {
  return parts.reduce((rest, part) => rest.sub(turns.mul(part)), x);
}

/** (−1)^k: 1 − 2·(k − 2·⌊k/2⌋). */
function sign(turns: SymbolicTensor): SymbolicTensor {
  const odd = turns.sub(floor(turns.mul(0.5)).mul(2));
  return odd.mul(-2).add(1);
}

function sineNearZero(r: SymbolicTensor): SymbolicTensor {
  const square = r.mul(r);
  const [last, ...others] = coefficients.toReversed() as [number, ...number[]];
  const series = others.reduce((sum, coefficient) => sum.mul(square).add(coefficient), square.mul(0).add(last));
  return r.add(r.mul(square).mul(series));
}

function floor(x: SymbolicTensor): SymbolicTensor {
  return x.graph.emit('Floor', x, { inputs: [x] });
}
