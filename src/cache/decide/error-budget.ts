/**
 * Decisions by the forecast's visible error: what it is, and what it costs on each step. The decision itself is `decide.ts`.
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
