/** What every noise scheduler offers to the pipelines. Times and sigmas are plain numbers; samples are tensors. */
import type { NoiseStream } from '../tensor/generator.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** What the schedule is made from; which of these a scheduler takes depends on its class, others are refused. */
export interface SetTimestepsOptions {
  /** Number of denoising steps, at least 1. */
  numInferenceSteps?: number;
  /** Custom noise levels, decreasing. */
  sigmas?: readonly number[];
  /** Custom times, decreasing, on the scale of training (0 to `num_train_timesteps`). */
  timesteps?: readonly number[];
  /** Strength of resolution-dependent shifting, see `calculateShift`. */
  mu?: number;
}

/** The tensors given are not written to, but a multistep method may keep them: do not re-use their memory. */
export interface StepOptions {
  /** What the model predicted for `sample` at `timestep`; same shape as `sample`. */
  modelOutput: Tensor;
  /** The entry of `timesteps` this step is at. */
  timestep: number;
  sample: Tensor;
  /** Source of noise; required by the schedulers that add some. */
  generator?: NoiseStream;
  /** How much noise DDIM adds, 0 (none, the default) to 1; refused by the others. */
  eta?: number;
}

export interface StepResult {
  /** The sample one step further, in the element type of `modelOutput`. */
  prevSample: Tensor;
  /** The clean sample as predicted at this step, where the method computes one; may share the model output's memory. */
  predOriginalSample?: Tensor;
}

export interface NoiseOptions {
  /** A clean sample. */
  sample: Tensor;
  noise: Tensor;
  /** The time to bring it to: an entry of `timesteps`. */
  timestep: number;
}

/**
 * A denoising schedule and the steps along it. State (where the schedule is, earlier model outputs) belongs to one
 * request: pipelines `clone()` the configured scheduler for each.
 */
export interface Scheduler {
  /** The class name of Diffusers, as in `scheduler_config.json`. */
  readonly className: string;
  /** The configuration with defaults filled in, keyed as in `scheduler_config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
  /** One entry per model call, in order; empty before `setTimesteps`. */
  readonly timesteps: readonly number[];
  /** Noise levels, one more than `timesteps`; empty for schedulers that work on timesteps alone. */
  readonly sigmas: readonly number[];
  /** Standard deviation that initial noise has to be scaled to. */
  readonly initNoiseSigma: number;
  /** Model calls per step of the method: 2 for Heun, whose `timesteps` come in pairs, else 1. */
  readonly order: number;

  /** Lays out the schedule and forgets all state. */
  setTimesteps(options: SetTimestepsOptions): void;
  /** The sample as the model wants to see it at `timestep`. */
  scaleModelInput(sample: Tensor, timestep: number): Tensor;
  /** Takes one step; steps have to be taken in the order of `timesteps`. */
  step(options: StepOptions): StepResult;
  /** A clean sample noised to the level of `timestep`, as image-to-image starts from. */
  addNoise(options: NoiseOptions): Tensor;
  /** Starts the schedule at this entry of `timesteps`; call after `setTimesteps`. */
  setBeginIndex(index: number): void;
  /** A scheduler of the same configuration with fresh state. */
  clone(): Scheduler;
}
