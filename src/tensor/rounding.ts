/** Rounding as NumPy and PyTorch do it. */

/** Adding 1.5 · 2^52 leaves a double no room for a fraction, so the sum itself rounds, ties to even: for |x| < 2^51. */
const noFraction = 1.5 * 2 ** 52;

/** To the nearest integer, ties to the even one, for |x| < 2^51; never −0. */
export function roundHalfEven(x: number): number {
  return x + noFraction - noFraction;
}
