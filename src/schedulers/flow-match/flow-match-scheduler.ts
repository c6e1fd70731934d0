/** Base of the flow-matching schedulers: how noise levels are laid out between 1 and 0. */
import * as z from 'zod';
import { sigmaSpacing, sigmaSpacingFields, trainTimesteps } from '../config.ts';
import type { SetTimestepsOptions } from '../scheduler.ts';
import { type Schedule, SchedulerBase } from '../scheduler-base.ts';
import { dynamicShift, type Rounding, staticShift, stretchToTerminal } from '../spacing/flow-shift.ts';
import { linspace, spaceSigmas } from '../spacing/sigma-spacing.ts';

const { fround } = Math;

export const flowMatchFields = {
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
};

/**
 * Sigmas go from 1 to 0 and are shifted, statically by `shift` or, with `use_dynamic_shifting`, by the `mu` that
 * `setTimesteps` then requires (and otherwise ignores, as Diffusers does).
 */
export abstract class FlowMatchScheduler extends SchedulerBase {
  abstract override readonly config: Readonly<z.infer<z.ZodObject<typeof flowMatchFields>>>;
  protected override readonly takes = ['sigmas', 'timesteps', 'mu'] as const;
  protected override readonly takesCountBesideCustom = true;

  protected plan(options: SetTimestepsOptions): Schedule {
    this.#check(options);
    const { num_train_timesteps: trainSteps, invert_sigmas: inverted } = this.config;
    const sigmas = Float32Array.from(this.#levels(options));
    if (inverted) {
      const clean = sigmas.map((sigma) => 1 - sigma);
      return { timesteps: clean.map((level) => level * trainSteps), sigmas: [...clean, 1] };
    }
    const { timesteps } = options;
    return {
      timesteps: timesteps ? Float32Array.from(timesteps) : sigmas.map((sigma) => sigma * trainSteps),
      sigmas: [...sigmas, 0],
    };
  }

  #levels({ numInferenceSteps, sigmas, timesteps, mu }: SetTimestepsOptions): Float64Array {
    const { num_train_timesteps: trainSteps, use_dynamic_shifting: dynamic, time_shift_type: kind } = this.config;
    const { shift, shift_terminal: terminal } = this.config;
    // What is given is held in single precision from the start, what is computed in double until the end.
    const custom = sigmas ?? timesteps?.map((timestep) => fround(timestep) / trainSteps);
    const round: Rounding = custom ? fround : (x) => x;
    let levels: Float64Array = custom
      ? Float64Array.from(custom, fround)
      : trainingLevels({ trainSteps, shift: dynamic ? 1 : shift, count: numInferenceSteps! });
    levels = levels.map((level) =>
      dynamic ? dynamicShift(level, mu!, kind, round) : staticShift(level, shift, round),
    );
    if (terminal) levels = stretchToTerminal(levels, terminal, round);
    const spacing = sigmaSpacing(this.config);
    return spacing ? spaceSigmas(spacing, { max: levels[0]!, min: levels.at(-1)!, count: levels.length }) : levels;
  }

  #check({ numInferenceSteps, sigmas, timesteps, mu }: SetTimestepsOptions): void {
    const { num_train_timesteps: trainSteps, use_dynamic_shifting: dynamic, time_shift_type: kind } = this.config;
    const count = numInferenceSteps ?? sigmas?.length ?? timesteps?.length;
    for (const [name, values] of Object.entries({ sigmas, timesteps })) {
      if (values && values.length !== count) {
        throw this.invalid(`${name} has ${values.length} entries where ${count} steps are asked for`);
      }
    }
    if (sigmas && (sigmas[0]! > 1 || sigmas.at(-1)! <= 0)) throw this.invalid('sigmas must lie above 0 and up to 1');
    if (timesteps && timesteps[0]! > trainSteps) throw this.invalid(`timesteps must not exceed ${trainSteps}`);
    if (!dynamic) return;
    if (mu === undefined) throw this.invalid('use_dynamic_shifting requires mu, see calculateShift');
    if (kind === 'linear' && mu <= 0) throw this.invalid(`mu must be positive for linear shifts, got ${mu}`);
  }

  protected noiseMix(index: number): [number, number] {
    return [1 - this.sigmas[index]!, this.sigmas[index]!];
  }
}

/** `count` levels from the noisiest to the cleanest of training, whose ends are shifted already. */
export function trainingLevels({ trainSteps, shift, count }: { trainSteps: number; shift: number; count: number }) {
  const cleanest = staticShift(fround(1 / trainSteps), shift, fround);
  return linspace(trainSteps, cleanest * trainSteps, count).map((time) => time / trainSteps);
}

/**
 * x' = (1 - sigma') * clean + sigma' * noise: back to the clean sample that the velocity points at, and noise anew.
 * Rounded after each operation, so that every bit agrees with Diffusers.
 */
export function renoise(
  { modelOutput, sample, noise }: { modelOutput: Float32Array; sample: Float32Array; noise: Float32Array },
  { sigma, next }: { sigma: number; next: number },
): Float32Array {
  const keep = fround(1 - next);
  return sample.map((value, i) => {
    const clean = fround(value - fround(sigma * modelOutput[i]!));
    return fround(keep * clean) + fround(next * noise[i]!);
  });
}
