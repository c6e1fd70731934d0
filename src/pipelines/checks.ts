/** Checks of option values. Every refusal names the option; an option that cannot take effect is never dropped in silence. */
import { inspect } from 'node:util';
import { DejaDitError, suggest } from '../errors/errors.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { GenerateOptions, OptionName } from './options.ts';
import type { GenerationDefaults } from './pipeline.ts';
import type { GenerateRequest } from './request.ts';

/** Options of every pipeline. */
export const commonOptionNames = [
  'numInferenceSteps',
  'numImages',
  'seed',
  'latents',
  'outputType',
  'cache',
  'loras',
  'onStep',
  'maxMemory',
  'signal',
] as const satisfies readonly OptionName[];

export interface TakenOptions {
  /** Names beside `commonOptionNames`. */
  known: readonly OptionName[];
  defaults: GenerationDefaults;
  /** Name of the pipeline, for messages. */
  pipeline: string;
}

/**
 * A request's options over the checkpoint's defaults. Options that are `undefined` count as not given.
 * @throws DejaDitError for options that the pipeline does not know: a typo must not be a silent no-op
 */
export function takeOptions(request: GenerateRequest, { known, defaults, pipeline }: TakenOptions): GenerateOptions {
  const { options } = request;
  const names = [...known, ...commonOptionNames];
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  for (const [name] of given) {
    if ((names as string[]).includes(name)) continue;
    throw new DejaDitError('INVALID_ARGUMENT', `unknown option of ${pipeline}; ${suggest(name, names)}`, {
      path: name,
    });
  }
  const merged: GenerateOptions = { ...defaults, ...Object.fromEntries(given) };
  // Embeddings replace the checkpoint's texts; only texts of the same request contradict them.
  if (options.negativePromptEmbeds !== undefined && options.negativePrompt === undefined) delete merged.negativePrompt;
  const schedule = merged.sigmas ?? merged.timesteps;
  warnIdle(request, {
    numInferenceSteps:
      schedule && schedule.length !== options.numInferenceSteps && `with a schedule of ${schedule.length} steps`,
  });
  for (const [name, { expected, fits }] of Object.entries(commonKinds)) {
    const value = merged[name as OptionName];
    if (value !== undefined && !fits(value)) throw invalid(name as OptionName, expected, value);
  }
  return merged;
}

interface Kind {
  expected: string;
  fits(value: unknown): boolean;
}

const numbers: Kind = {
  expected: 'expected a list of numbers',
  fits: (value) => Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'number'),
};

/** Options that mean the same to every pipeline that takes them, and whose values are not checked elsewhere. */
const commonKinds: Partial<Record<OptionName, Kind>> = {
  latents: { expected: 'expected a Tensor', fits: (value) => value instanceof Tensor },
  sigmas: numbers,
  timesteps: numbers,
  outputType: { expected: "expected 'image' or 'latent'", fits: (value) => value === 'image' || value === 'latent' },
  onStep: { expected: 'expected a function', fits: (value) => typeof value === 'function' },
  signal: { expected: 'expected an AbortSignal', fits: (value) => value instanceof AbortSignal },
};

/** Warns about options that were given and cannot take effect, for the reasons there are. */
export function warnIdle(
  { options, warnings }: GenerateRequest,
  reasons: Readonly<Partial<Record<OptionName, string | false | undefined>>>,
): void {
  for (const [name, reason] of Object.entries(reasons))
    if (reason && options[name as OptionName] !== undefined) warnings.add(`${name} has no effect ${reason}`);
}

/** An integer within bounds. */
export function checkInteger(
  name: OptionName,
  value: unknown,
  { min, max, multipleOf = 1 }: { min: number; max: number; multipleOf?: number },
): number {
  const fits = Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
  if (fits && (value as number) % multipleOf === 0) return value as number;
  const multiple = multipleOf === 1 ? '' : ` that is a multiple of ${multipleOf}`;
  throw invalid(name, `expected an integer from ${min} to ${max}${multiple}`, value);
}

/** A finite number within bounds. */
export function checkNumber(name: OptionName, value: unknown, { min, max }: { min: number; max: number }): number {
  if (typeof value === 'number' && value >= min && value <= max) return value;
  throw invalid(name, `expected a number from ${min} to ${max}`, value);
}

export function checkFlag(name: OptionName, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw invalid(name, 'expected true or false', value);
}

/** Height and width in pixels. */
export function checkSize(
  given: GenerateOptions,
  { height, width, multipleOf }: { height: number; width: number; multipleOf: number },
): { height: number; width: number } {
  const edge = (name: 'height' | 'width', fallback: number) =>
    checkInteger(name, given[name] ?? fallback, { min: multipleOf, max: 16384, multipleOf });
  return { height: edge('height', height), width: edge('width', width) };
}

export interface Counts {
  steps: number;
  /** Pictures per prompt. */
  numImages: number;
  /** The request's own schedule, if it has one. */
  sigmas: readonly number[] | undefined;
  timesteps: readonly number[] | undefined;
}

/** Steps, which a schedule of the request's own determines, and pictures per prompt. */
export function checkCounts(given: GenerateOptions, { steps: defaultSteps }: { steps: number }): Counts {
  const { sigmas, timesteps } = given;
  if (sigmas && timesteps)
    throw new DejaDitError('INVALID_ARGUMENT', 'sigmas are given too; give one of the two', { path: 'timesteps' });
  const steps = (sigmas ?? timesteps)?.length ?? given.numInferenceSteps ?? defaultSteps;
  return {
    steps: checkInteger('numInferenceSteps', steps, { min: 1, max: 10000 }),
    numImages: checkInteger('numImages', given.numImages ?? 1, { min: 1, max: 1024 }),
    sigmas,
    timesteps,
  };
}

export function invalid(name: OptionName, expected: string, value: unknown): DejaDitError {
  return new DejaDitError('INVALID_ARGUMENT', `${expected}, got ${shown(value)}`, { path: name });
}

/** Any value in part of a line. */
export function shown(value: unknown): string {
  const text = inspect(value, {
    depth: 1,
    breakLength: Number.POSITIVE_INFINITY,
    maxArrayLength: 8,
    maxStringLength: 80,
  });
  const line = text.replace(/\s+/g, ' ');
  return line.length > 160 ? `${line.slice(0, 160)}…` : line;
}
