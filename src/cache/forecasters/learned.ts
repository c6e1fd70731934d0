/**
 * Weights fitted beforehand on recorded runs and read from JSON (as in L2P, arXiv 2604.26365), and the format they are
 * kept in. Fitting them is `deja-dit calibrate`; `correctedWeights` in `gram.ts` is its closed form.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { asObject, integer, readFields, show } from '../config/fields.ts';
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

/** Checks what was read from a file. Throws `INVALID_CONFIG` naming the entry and the field. */
export function parseLearnedCoefficients(json: unknown, path: string): LearnedCoefficients {
  const given = readFields<LearnedCoefficients>({
    fields: {
      numInferenceSteps: integer({ min: 1 }),
      entries: {
        read: (value, fail) =>
          Array.isArray(value) ? value.map(parseEntry(`${path}.entries`)) : fail('must be a list'),
      },
    },
    options: json,
    path,
  });
  for (const name of ['numInferenceSteps', 'entries'] as const) {
    if (given[name] === undefined) throw new DejaDitError('INVALID_CONFIG', 'is required', { path: `${path}.${name}` });
  }
  return given as LearnedCoefficients;
}

const parseEntry =
  (list: string) =>
  (json: unknown, index: number): LearnedEntry => {
    const path = `${list}[${index}]`;
    const { target, positions, weights } = asObject(json, path);
    const fail = (reason: string) => new DejaDitError('INVALID_CONFIG', reason, { path });
    const numbers = (value: unknown): value is number[] =>
      Array.isArray(value) && value.length > 0 && value.every(Number.isFinite);
    if (!numbers(positions) || !numbers(weights) || positions.length !== weights.length) {
      throw fail('positions and weights must be lists of as many numbers each');
    }
    const falls = positions.every((step, i) => Number.isSafeInteger(step) && (i === 0 || step < positions[i - 1]!));
    if (!falls || !Number.isSafeInteger(target) || (target as number) <= positions[0]!) {
      throw fail(`target and positions must be falling steps, got ${show([target, ...positions])}`);
    }
    return { target: target as number, positions, weights };
  };

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
