/**
 * What all schedulers share: checking arguments and keeping track of where the schedule is. Subclasses lay the schedule
 * out (`plan`) and do the arithmetic (`advance`), on plain float32 arrays.
 */
import { DejaDitError } from '../errors/errors.ts';
import { fromFloat32 } from '../tensor/convert.ts';
import type { DType } from '../tensor/dtype.ts';
import type { NoiseStream, RandomDType } from '../tensor/generator.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { NoiseOptions, Scheduler, SetTimestepsOptions, StepOptions, StepResult } from './scheduler.ts';

export interface Schedule {
  timesteps: ArrayLike<number>;
  sigmas: ArrayLike<number>;
}

export interface AdvanceInput {
  modelOutput: Float32Array;
  sample: Float32Array;
  shape: readonly number[];
  /** Position in `timesteps`. */
  index: number;
  timestep: number;
  eta: number;
  /** Fresh standard normal noise of the sample's size, drawn in `dtype` (default: that of the model output). */
  noise(dtype?: RandomDType): Float32Array;
}

export interface AdvanceResult {
  prevSample: Float32Array;
  predOriginalSample?: Float32Array;
}

type CustomOption = 'sigmas' | 'timesteps' | 'mu';

export abstract class SchedulerBase implements Scheduler {
  abstract readonly className: string;
  abstract readonly config: Readonly<Record<string, unknown>>;
  readonly order: number = 1;
  /** Options of `setTimesteps` beside the number of steps. */
  protected readonly takes: readonly CustomOption[] = [];
  /** Whether `numInferenceSteps` may be given together with `sigmas` and `timesteps`. */
  protected readonly takesCountBesideCustom: boolean = false;
  protected readonly takesEta: boolean = false;

  #timesteps: readonly number[] = [];
  #sigmas: readonly number[] = [];
  #beginIndex: number | undefined;
  #index: number | undefined;

  get timesteps(): readonly number[] {
    return this.#timesteps;
  }

  get sigmas(): readonly number[] {
    return this.#sigmas;
  }

  get initNoiseSigma(): number {
    return 1;
  }

  setTimesteps(options: SetTimestepsOptions): void {
    this.#checkPlan(options);
    const { timesteps, sigmas } = this.plan(options);
    this.#timesteps = Array.from(timesteps);
    this.#sigmas = Array.from(sigmas);
    this.#beginIndex = undefined;
    this.#index = undefined;
    this.forget();
  }

  setBeginIndex(index: number): void {
    this.#requirePlan();
    if (this.#index !== undefined) throw this.invalid('the begin index has to be set before the first step');
    if (!Number.isInteger(index) || index < 0 || index >= this.#timesteps.length) {
      throw this.invalid(`begin index must be from 0 to ${this.#timesteps.length - 1}, got ${index}`);
    }
    if (index % this.order !== 0) {
      throw this.invalid(`begin index must be a multiple of ${this.order}, where a step begins, got ${index}`);
    }
    this.#beginIndex = index;
  }

  scaleModelInput(sample: Tensor, timestep: number): Tensor {
    const scale = this.modelInputScale(this.#indexAt(timestep));
    if (scale === 1) return sample;
    return asTensor(
      sample.float().f32.map((value) => value * scale),
      sample,
    );
  }

  step({ modelOutput, timestep, sample, generator, eta }: StepOptions): StepResult {
    const index = this.#indexAt(timestep);
    if (modelOutput.shape.join() !== sample.shape.join()) {
      throw new DejaDitError(
        'SHAPE_MISMATCH',
        `${this.className}: model output [${modelOutput.shape}] and sample [${sample.shape}] must have one shape`,
      );
    }
    if (eta !== undefined && !(this.takesEta && eta >= 0 && eta <= 1)) {
      throw this.invalid(this.takesEta ? `eta must be from 0 to 1, got ${eta}` : 'takes no eta');
    }
    const output = modelOutput.float().f32;
    if (!allFinite(output)) {
      throw new DejaDitError('RUNTIME', `${this.className}: the model output at timestep ${timestep} is not finite`);
    }
    const { prevSample, predOriginalSample } = this.advance({
      modelOutput: output,
      sample: sample.float().f32,
      shape: sample.shape,
      index,
      timestep,
      eta: eta ?? 0,
      noise: (dtype = modelOutput.dtype as RandomDType) => this.#noise(generator, sample, dtype),
    });
    if (!allFinite(prevSample)) {
      throw new DejaDitError(
        'RUNTIME',
        `${this.className}: the step at timestep ${timestep} left the range of numbers`,
      );
    }
    this.#index = index + 1;
    return {
      prevSample: asTensor(prevSample, modelOutput),
      ...(predOriginalSample && { predOriginalSample: asTensor(predOriginalSample, modelOutput) }),
    };
  }

  addNoise({ sample, noise, timestep }: NoiseOptions): Tensor {
    if (sample.shape.join() !== noise.shape.join()) {
      throw new DejaDitError(
        'SHAPE_MISMATCH',
        `${this.className}: sample [${sample.shape}] and noise [${noise.shape}] must have one shape`,
      );
    }
    const [signalScale, noiseScale] = this.noiseMix(this.#indexAt(timestep), timestep);
    const clean = sample.float().f32;
    const noisy = weightedSum([signalScale, clean], [noiseScale, noise.float().f32]);
    return asTensor(noisy, sample);
  }

  abstract clone(): Scheduler;

  protected abstract plan(options: SetTimestepsOptions): Schedule;

  protected abstract advance(input: AdvanceInput): AdvanceResult;

  /** Weights of the clean sample and of noise at an entry of the schedule. */
  protected abstract noiseMix(index: number, timestep: number): [signal: number, noise: number];

  protected modelInputScale(_index: number): number {
    return 1;
  }

  /** Drops what earlier steps left behind. */
  protected forget(): void {}

  protected invalid(message: string): DejaDitError {
    return new DejaDitError('INVALID_ARGUMENT', `${this.className}: ${message}`);
  }

  #requirePlan(): void {
    if (this.#timesteps.length === 0) throw this.invalid('call setTimesteps first');
  }

  /**
   * Where in the schedule the next step is. The first step finds its place by its timestep; of two equal entries the
   * second, because a Heun pair has to be entered at its end, unless they are the first of all.
   */
  #indexAt(timestep: number): number {
    this.#requirePlan();
    const steps = this.#timesteps;
    let index = this.#index ?? this.#beginIndex;
    if (index === undefined) {
      index = steps.indexOf(timestep);
      if (index > 0 && steps[index + 1] === timestep) index += 1;
    }
    if (index >= steps.length) {
      throw this.invalid(`all ${steps.length} steps are taken, call setTimesteps to start over`);
    }
    if (index < 0) {
      const entries = `${steps.slice(0, 8).join(', ')}${steps.length > 8 ? ', ...' : ''}`;
      throw this.invalid(`timestep ${timestep} is not in the schedule (${entries})`);
    }
    if (steps[index] !== timestep) {
      throw this.invalid(`timestep ${timestep} is not the next of the schedule (${steps[index]})`);
    }
    return index;
  }

  #noise(generator: NoiseStream | undefined, sample: Tensor, dtype: RandomDType): Float32Array {
    if (generator === undefined) throw this.invalid('adds noise at each step, pass a generator');
    return generator.randn(sample.shape, dtype).float().f32;
  }

  #checkPlan(options: SetTimestepsOptions): void {
    const { numInferenceSteps, sigmas, timesteps, mu } = options;
    for (const name of ['sigmas', 'timesteps', 'mu'] as const) {
      if (options[name] !== undefined && !this.takes.includes(name)) throw this.invalid(`takes no ${name}`);
    }
    if (numInferenceSteps === undefined && sigmas === undefined && timesteps === undefined) {
      const ways = ['numInferenceSteps', ...this.takes.filter((name) => name !== 'mu')];
      throw this.invalid(`${ways.join(' or ')} is required`);
    }
    const sources = [numInferenceSteps, sigmas, timesteps].filter((source) => source !== undefined);
    if (sources.length > 1 && !this.takesCountBesideCustom) {
      throw this.invalid('numInferenceSteps, sigmas and timesteps exclude each other');
    }
    if (numInferenceSteps !== undefined && !(Number.isSafeInteger(numInferenceSteps) && numInferenceSteps >= 1)) {
      throw this.invalid(`numInferenceSteps must be a positive integer, got ${numInferenceSteps}`);
    }
    if (mu !== undefined && !Number.isFinite(mu)) throw this.invalid(`mu must be a finite number, got ${mu}`);
    for (const [name, values] of Object.entries({ sigmas, timesteps })) {
      if (values === undefined) continue;
      if (values.length === 0) throw this.invalid(`${name} must not be empty`);
      values.forEach((value, i) => {
        if (!Number.isFinite(value) || value < 0) {
          throw this.invalid(`${name}[${i}] must be a number >= 0, got ${value}`);
        }
        if (i > 0 && value >= values[i - 1]!) {
          throw this.invalid(`${name} must decrease, but ${name}[${i}] = ${value} follows ${values[i - 1]}`);
        }
      });
    }
  }
}

/** Float32 values in the shape and element type of a model output. */
function asTensor(values: Float32Array, like: Tensor): Tensor {
  return new Tensor(like.dtype, fromFloat32(like.dtype as DType, values), like.shape);
}

/** Sum of float32 values times factors, computed in double precision and rounded once. */
export function weightedSum(...terms: readonly (readonly [factor: number, values: Float32Array])[]): Float32Array {
  const sum = new Float64Array(terms[0]![1].length);
  for (const [factor, values] of terms) {
    for (let i = 0; i < sum.length; i++) sum[i]! += factor * values[i]!;
  }
  return new Float32Array(sum);
}

/**
 * sample + distance * slope, rounded after each operation. This is less exact than `weightedSum`, but what Diffusers
 * does: where large values cancel, as at high noise levels, its rounding is part of the result.
 */
export function moveAlong(sample: Float32Array, slope: Float32Array, distance: number): Float32Array {
  const step = Math.fround(distance);
  return sample.map((value, i) => value + Math.fround(slope[i]! * step));
}

function allFinite(values: Float32Array): boolean {
  // Finite single precision values cannot overflow a sum in double precision.
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return Number.isFinite(sum);
}
