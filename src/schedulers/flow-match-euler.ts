/** Euler steps along straight flows: the scheduler of Flux, SD3, Qwen-Image and most newer models. */
import { z } from 'zod';
import { parseConfig, sigmaSpacing, sigmaSpacingFields, trainTimesteps } from './config.ts';
import { dynamicShift, staticShift, stretchToTerminal } from './flow-shift.ts';
import type { SetTimestepsOptions } from './scheduler.ts';
import { type AdvanceInput, type AdvanceResult, type Schedule, SchedulerBase } from './scheduler-base.ts';
import { linspace, spaceSigmas } from './sigma-spacing.ts';

const { fround } = Math;

const fields = {
  num_train_timesteps: trainTimesteps,
  shift: z.number().positive().default(1),
  use_dynamic_shifting: z.boolean().default(false),
  base_shift: z.number().default(0.5),
  max_shift: z.number().default(1.15),
  base_image_seq_len: z.int().positive().default(256),
  max_image_seq_len: z.int().positive().default(4096),
  invert_sigmas: z.boolean().default(false),
  shift_terminal: z.number().min(0).lt(1).nullable().default(null),
  ...sigmaSpacingFields,
  time_shift_type: z.enum(['exponential', 'linear']).default('exponential'),
  stochastic_sampling: z.boolean().default(false),
};

/**
 * x' = x + (sigma' - sigma) * v, with the model predicting the velocity v = noise - clean.
 * Sigmas go from 1 to 0 and are shifted, statically by `shift` or, with `use_dynamic_shifting`, by the `mu` that
 * `setTimesteps` then requires (and otherwise ignores, as Diffusers does).
 */
export class FlowMatchEulerDiscreteScheduler extends SchedulerBase {
  readonly className = 'FlowMatchEulerDiscreteScheduler';
  readonly config;
  protected override readonly takes = ['sigmas', 'timesteps', 'mu'] as const;
  readonly #spacing;

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super();
    this.config = parseConfig(this.className, fields, config);
    this.#spacing = sigmaSpacing(this.className, this.config);
  }

  clone(): FlowMatchEulerDiscreteScheduler {
    return new FlowMatchEulerDiscreteScheduler(this.config);
  }

  protected plan({ numInferenceSteps, sigmas, timesteps, mu }: SetTimestepsOptions): Schedule {
    const { num_train_timesteps: trainSteps, invert_sigmas: invert } = this.config;
    const count = numInferenceSteps ?? sigmas?.length ?? timesteps!.length;
    for (const [name, values] of Object.entries({ sigmas, timesteps })) {
      if (values && values.length !== count) {
        throw this.invalid(`${name} has ${values.length} entries where ${count} steps are asked for`);
      }
    }
    if (sigmas && (sigmas[0]! > 1 || sigmas.at(-1)! <= 0)) throw this.invalid('sigmas must lie above 0 and up to 1');
    if (timesteps && timesteps[0]! > trainSteps) throw this.invalid(`timesteps must not exceed ${trainSteps}`);

    const levels = Float32Array.from(this.#shape(this.#initialSigmas({ sigmas, timesteps, count }), mu, count));
    const times = timesteps ? Float32Array.from(timesteps) : levels.map((level) => level * trainSteps);
    if (!invert) return { timesteps: times, sigmas: [...levels, 0] };
    const inverted = levels.map((level) => 1 - level);
    return { timesteps: inverted.map((level) => level * trainSteps), sigmas: [...inverted, 1] };
  }

  /** Given levels are held in single precision from the start, computed ones in double until the end. */
  #initialSigmas({
    sigmas,
    timesteps,
    count,
  }: {
    sigmas?: readonly number[];
    timesteps?: readonly number[];
    count: number;
  }) {
    const { num_train_timesteps: trainSteps, shift, use_dynamic_shifting: dynamic } = this.config;
    if (sigmas) return { values: Float64Array.from(sigmas, fround), round: fround };
    if (timesteps)
      return { values: Float64Array.from(timesteps, (t) => fround(fround(t) / trainSteps)), round: fround };
    // From the noisiest to the cleanest level of training, which are shifted already.
    const [max, min] = [1, fround(1 / trainSteps)].map((level) =>
      dynamic ? level : staticShift(level, shift, fround),
    );
    const values = linspace(max! * trainSteps, min! * trainSteps, count).map((time) => time / trainSteps);
    return { values, round: (x: number) => x };
  }

  #shape(
    { values, round }: { values: Float64Array; round: (x: number) => number },
    mu: number | undefined,
    count: number,
  ) {
    const { use_dynamic_shifting: dynamic, time_shift_type: kind, shift, shift_terminal: terminal } = this.config;
    if (dynamic && mu === undefined) throw this.invalid('use_dynamic_shifting requires mu, see calculateShift');
    if (dynamic && kind === 'linear' && mu! <= 0)
      throw this.invalid(`mu must be positive for linear shifts, got ${mu}`);
    let sigmas: Float64Array = values.map((s) =>
      dynamic ? dynamicShift(s, mu!, kind, round) : staticShift(s, shift, round),
    );
    if (terminal) sigmas = stretchToTerminal(sigmas, terminal, round);
    return this.#spacing ? spaceSigmas(this.#spacing, { max: sigmas[0]!, min: sigmas.at(-1)!, count }) : sigmas;
  }

  protected advance({ modelOutput, sample, index, noise }: AdvanceInput): AdvanceResult {
    const sigma = this.sigmas[index]!;
    const next = this.sigmas[index + 1]!;
    const prevSample = new Float32Array(sample.length);
    // Rounded after each operation: then every bit agrees with Diffusers.
    if (this.config.stochastic_sampling) {
      const fresh = noise('float32');
      const keep = fround(1 - next);
      for (let i = 0; i < prevSample.length; i++) {
        const clean = fround(sample[i]! - fround(sigma * modelOutput[i]!));
        prevSample[i] = fround(keep * clean) + fround(next * fresh[i]!);
      }
    } else {
      const dt = fround(next - sigma);
      for (let i = 0; i < prevSample.length; i++) prevSample[i] = sample[i]! + fround(dt * modelOutput[i]!);
    }
    return { prevSample };
  }

  protected noiseMix(index: number): [number, number] {
    return [1 - this.sigmas[index]!, this.sigmas[index]!];
  }
}
