/**
 * What pipelines take and return, under Diffusers' names in camelCase, and the checks that they share.
 */
import { DejaDitError, nearestName } from '../errors/errors.ts';
import type { Image } from '../images/image.ts';
import type { StepReport } from '../models/transformer-model.ts';
import type { Tensor } from '../tensor/tensor.ts';

export interface StepEvent {
  /** 1-based. */
  step: number;
  steps: number;
  timestep: number;
  /** `reuse` if every guidance branch was answered from the cache. */
  action: 'compute' | 'reuse';
  /** What the cache did per guidance branch; empty without a cache. */
  branches: Readonly<Record<string, StepReport>>;
  /** Latents after this step. */
  latents: Tensor;
  /** Milliseconds this step took. */
  time: number;
  /** Decodes what the finished image looks like so far. Costs a run of the autoencoder. */
  preview(): Promise<Image[]>;
}

/** The options of all pipelines. Each pipeline takes the ones that mean something to it and refuses the others by name. */
export interface GenerateOptions {
  prompt?: string | readonly string[];
  /** For classifier-free guidance. */
  negativePrompt?: string | readonly string[];
  /** Guidance: the scale that the model was distilled with (FLUX.1-dev), or the classifier-free one where there is no other. */
  guidanceScale?: number;
  /** Classifier-free guidance of models that also have a distilled `guidanceScale`: a second model call per step. Default 1, off. */
  trueCfgScale?: number;
  /** Text tokens. Default: what the pipeline's text encoder was used with in training. */
  maxSequenceLength?: number;
  /** Starting image for image-to-image; resized to `width`×`height`. */
  image?: Image;
  /** How much of the schedule runs on the starting image: 1 all of it, near 0 almost nothing. Default 0.6. */
  strength?: number;
  numInferenceSteps?: number;
  height?: number;
  width?: number;
  /** Images per prompt. Default 1. */
  numImages?: number;
  /** Any integer; the same seed gives the same noise as a CPU generator of PyTorch. A list gives every image its own. Default: random. */
  seed?: number | readonly number[];
  /** Initial noise instead of a seeded draw. */
  latents?: Tensor;
  /** Noise levels instead of the scheduler's spacing. */
  sigmas?: readonly number[];
  /** `image`: pictures. `latent`: the final latents alone. Default `image`. */
  outputType?: 'image' | 'latent';
  /** Called after every step; a promise it returns is awaited. */
  onStep?: (event: StepEvent) => void | Promise<void>;
  /** Ends the request between two steps with an `ABORTED` error. */
  signal?: AbortSignal;
}

export interface Timings {
  /** Milliseconds. */
  encode: number;
  denoise: number;
  decode: number;
  total: number;
  steps: number[];
}

export interface GenerateResult {
  /** Empty with `outputType: 'latent'`. */
  images: Image[];
  /** Final latents as the scheduler left them. */
  latents: Tensor;
  seed: number | readonly number[];
  timings: Timings;
}

/** Refuses options that the pipeline does not know: a typo must not be a silent no-op. */
export function checkOptionNames(options: object, known: readonly string[], pipeline: string): void {
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const nearest = nearestName(name, known);
    const hint = nearest ? `did you mean '${nearest}'?` : `known: ${known.join(', ')}`;
    throw new DejaDitError('INVALID_ARGUMENT', `unknown option of ${pipeline}; ${hint}`, { path: name });
  }
}

export const commonOptionNames = [
  'prompt',
  'numInferenceSteps',
  'height',
  'width',
  'numImages',
  'seed',
  'latents',
  'sigmas',
  'outputType',
  'onStep',
  'signal',
] as const satisfies readonly (keyof GenerateOptions)[];

/** An integer within bounds. */
export function checkInteger(
  name: string,
  value: unknown,
  { min, max, multipleOf = 1 }: { min: number; max: number; multipleOf?: number },
): number {
  if (
    Number.isSafeInteger(value) &&
    (value as number) >= min &&
    (value as number) <= max &&
    (value as number) % multipleOf === 0
  )
    return value as number;
  const multiple = multipleOf === 1 ? '' : ` that is a multiple of ${multipleOf}`;
  throw new DejaDitError(
    'INVALID_ARGUMENT',
    `expected an integer from ${min} to ${max}${multiple}, got ${JSON.stringify(value)}`,
    { path: name },
  );
}

/** A finite number within bounds. */
export function checkNumber(name: string, value: unknown, { min, max }: { min: number; max: number }): number {
  if (typeof value === 'number' && value >= min && value <= max) return value;
  throw new DejaDitError('INVALID_ARGUMENT', `expected a number from ${min} to ${max}, got ${JSON.stringify(value)}`, {
    path: name,
  });
}

/** Prompts as a list, each a string. */
export function checkPrompts(prompt: unknown, name = 'prompt'): string[] {
  const prompts = Array.isArray(prompt) ? prompt : [prompt];
  if (prompts.length > 0 && prompts.every((text) => typeof text === 'string')) return prompts;
  throw new DejaDitError('INVALID_ARGUMENT', `expected a string or a list of strings, got ${JSON.stringify(prompt)}`, {
    path: name,
  });
}

/** Prompts for as many images as there are others: one for all, or one each. */
export function matchPrompts(prompt: unknown, count: number, name: string): string[] {
  const prompts = checkPrompts(prompt, name);
  if (prompts.length === count) return prompts;
  if (prompts.length === 1) return Array<string>(count).fill(prompts[0]!);
  throw new DejaDitError('INVALID_ARGUMENT', `${prompts.length} texts for ${count} prompts`, { path: name });
}
