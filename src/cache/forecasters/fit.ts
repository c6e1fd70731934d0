/**
 * Forecast weights fitted to uncached runs, for schedules known beforehand: ridge regression on the inner products of the true
 * residuals of every step, so that tensors need not be kept. Recording them is `trajectory.ts`.
 */
import type { StepMask } from '../config/steps-mask.ts';
import { compensatedWeights } from './compensated.ts';
import { correctedWeights } from './gram.ts';
import type { LearnedCoefficients, LearnedEntry } from './learned.ts';

export interface FitOptions {
  /** Inner products [steps, steps] of the true residuals, summed over runs and guidance branches. */
  gram: readonly (readonly number[])[];
  /** Schedules to fit: 1 computes. */
  masks: readonly StepMask[];
  /** Computed tensors that a forecast is made of. Default 5. */
  history?: number;
  /** Ridge towards compensated Taylor, relative. Default 0.3: with a few prompts, less fits their peculiarities. */
  lambda?: number;
}

/** Share of what the forecasts before were wrong by that a forecast is fitted to take off. */
const GAIN = 0.5;
const PRIOR = { order: 2, gain: GAIN };

/**
 * Weights for every skipped step of the masks: the least squares fit to the step's true residual less half of the error that the
 * forecasts before it have left, which during the fit is known.
 */
export function fitCoefficients({ gram, masks, history = 5, lambda = 0.3 }: FitOptions): LearnedCoefficients {
  const entries = new Map<string, LearnedEntry>();
  for (const mask of masks) {
    const open = new Float64Array(gram.length);
    for (let target = 0; target < gram.length; target++) {
      const positions = computedBefore(mask, target).slice(0, history);
      if (mask[target] === 1 || positions.length === 0) continue;
      const wanted = Float64Array.from(open, (error, step) => (step === target ? 1 : 0) - GAIN * error);
      const prior = compensatedWeights({ ...PRIOR, history, positions, first: positions.at(-1)!, target });
      const weights = correctedWeights({ prior, gram: gramOf(gram, { positions, wanted }), lambda });
      for (const [i, step] of positions.entries()) open[step]! += weights[i]!;
      open[target]! -= 1;
      const key = [target, ...positions].join();
      if (!entries.has(key)) entries.set(key, { target, positions, weights: [...weights] });
    }
  }
  return { numInferenceSteps: gram.length, entries: [...entries.values()] };
}

function computedBefore(mask: StepMask, target: number): number[] {
  return mask.flatMap((computed, step) => (computed === 1 && step < target ? [step] : [])).reverse();
}

/** Inner products of the newest tensor, the older ones' differences from it, and that of the wanted combination. */
function gramOf(
  gram: FitOptions['gram'],
  { positions, wanted }: { positions: readonly number[]; wanted: Float64Array },
): number[][] {
  const unit = (step: number) => Float64Array.from(wanted, (_, i) => (i === step ? 1 : 0));
  const [newest, ...older] = positions.map(unit) as [Float64Array, ...Float64Array[]];
  const vectors = [newest, ...[...older, wanted].map((vector) => vector.map((value, i) => value - newest[i]!))];
  const images = vectors.map((vector) => gram.map((row) => dot(row, vector)));
  return vectors.map((vector) => images.map((image) => dot(image, vector)));
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i]! * b[i]!;
  return total;
}
