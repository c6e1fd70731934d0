/** `targetPsnr`: what an error budget comes to in the end. */

/** Budgets and the mean PSNR they gave on the bundled model: 28 steps, 24 prompts (docs/caching.md). */
const MEASURED: readonly (readonly [budget: number, psnr: number])[] = [
  [0.015, 51.3],
  [0.03, 45.6],
  [0.05, 42.9],
  [0.09, 36.1],
  [0.13, 33.3],
];

/** The budget for a mean PSNR in dB: log-linear between and beyond the measured ones. */
export function budgetForPsnr(psnr: number): number {
  const above = MEASURED.findIndex(([, reached]) => reached < psnr);
  const high = Math.min(Math.max(above === -1 ? MEASURED.length - 1 : above, 1), MEASURED.length - 1);
  const [[budget0, psnr0], [budget1, psnr1]] = [MEASURED[high - 1]!, MEASURED[high]!];
  return budget0 * (budget1 / budget0) ** ((psnr - psnr0) / (psnr1 - psnr0));
}
