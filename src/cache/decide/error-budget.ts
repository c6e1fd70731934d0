/**
 * Decisions by the forecast's visible error: what it is, what it costs on each step, and what it comes to in the end. The
 * decision itself is `decide.ts`.
 */
import { type Gram, innovation } from '../forecasters/gram.ts';
import { taylorWeights } from '../forecasters/taylorseer.ts';

/** Remembered probes that the visible error needs. */
export const ERROR_PROBES = 2;

/**
 * The visible error of a step: how far the first blocks' residual is from its own forecast, ‖d − d̂‖ / ‖d‖, by the straight line
 * through the two latest computed steps. (Order 0, plain movement, and order 2 told the true errors apart less well.)
 */
export function visibleError(args: {
  positions: readonly number[];
  first: number;
  target: number;
  probe: Gram;
}): number {
  const { probe } = args;
  const positions = args.positions.slice(0, probe.length - 1);
  return innovation(taylorWeights({ ...args, positions, order: 1 }), probe);
}

/**
 * What an error on a step costs, 1 on the first: an early one changes what the image becomes, a late one only blurs it. Fitted to
 * runs of the bundled model that skip steps in one third of the schedule only.
 */
export function importance(step: number, steps: number | null): number {
  return steps === null ? 1 : 1 - (step / steps) ** 2;
}

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
