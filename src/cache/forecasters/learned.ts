/**
 * Weights fitted beforehand on recorded runs and read from JSON (as in L2P, arXiv 2604.26365), and the format they are
 * kept in. Fitting them is `deja-dit calibrate`; `correctedWeights` in `gram.ts` is its closed form.
 */
import * as z from 'zod';
import { DejaDitError } from '../../errors/errors.ts';
import { type Fields, givenOptions, integer } from '../../errors/options.ts';
import { quote } from '../../errors/printable.ts';
import type { Forecaster } from './forecaster.ts';
import { taylorWeights } from './taylorseer.ts';

export interface LearnedCoefficients {
  /** Steps of the runs the weights were fitted on. */
  numInferenceSteps: number;
  entries: readonly LearnedEntry[];
}

/** The forecast of step `target` from the tensors computed at `positions` (newest first): one weight for each. */
export interface LearnedEntry {
  target: number;
  positions: readonly number[];
  weights: readonly number[];
}

const fields = {
  numInferenceSteps: integer({ min: 1 }),
  entries: z.array(
    z.object({ target: z.int(), positions: z.array(z.int()).min(1), weights: z.array(z.number()).min(1) }),
  ),
} satisfies Fields<LearnedCoefficients>;

/** Checks what was read from a file. Throws `INVALID_CONFIG` naming the entry and the field. */
export function parseLearnedCoefficients(json: unknown, path: string): LearnedCoefficients {
  const { numInferenceSteps, entries } = givenOptions(fields, json, path);
  const fail = (message: string, at: string) => new DejaDitError('INVALID_CONFIG', message, { path: `${path}.${at}` });
  if (numInferenceSteps === undefined) throw fail('is required', 'numInferenceSteps');
  if (entries === undefined) throw fail('is required', 'entries');
  for (const [i, { target, positions, weights }] of entries.entries()) {
    if (positions.length !== weights.length)
      throw fail('positions and weights must be lists of as many numbers each', `entries[${i}]`);
    if (![target, ...positions].every((step, at, steps) => at === 0 || step < steps[at - 1]!))
      throw fail(`target and positions must be falling steps, got ${quote([target, ...positions])}`, `entries[${i}]`);
  }
  return { numInferenceSteps, entries };
}

/** Fitted weights where an entry matches the latest computed steps (the longest match), else Taylor of order 1. */
export function learned({ entries }: LearnedCoefficients): Forecaster {
  const byTarget = new Map<number, LearnedEntry[]>();
  for (const entry of [...entries].sort((a, b) => b.positions.length - a.positions.length)) {
    byTarget.set(entry.target, [...(byTarget.get(entry.target) ?? []), entry]);
  }
  return {
    name: 'learned',
    historySize: Math.max(2, ...entries.map((entry) => entry.positions.length)),
    needs: {},
    forecast(input) {
      const { positions, target } = input;
      const match = byTarget.get(target)?.find((entry) => entry.positions.every((step, i) => step === positions[i]));
      if (match !== undefined) return { weights: Float64Array.from(positions, (_, i) => match.weights[i] ?? 0) };
      return {
        weights: taylorWeights({ ...input, order: 1 }),
        note: `nothing fitted for step ${target} from steps ${positions.join(', ')}: Taylor of order 1`,
      };
    },
  };
}
