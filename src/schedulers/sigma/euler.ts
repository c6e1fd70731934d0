/** Euler's method on the noise levels of training (Karras et al. 2022, algorithm 2 without churn). */
import * as z from 'zod';
import { parseConfig, sigmaSpacingFields } from '../config.ts';
import type { SetTimestepsOptions } from '../scheduler.ts';
import { type AdvanceInput, type AdvanceResult, moveAlong, type Schedule } from '../scheduler-base.ts';
import { derivativeAt, SigmaScheduler, sigmaFields, singlePrecision } from './sigma-scheduler.ts';

const fields = {
  ...sigmaFields,
  interpolation_type: z.enum(['linear']).default('linear'),
  ...sigmaSpacingFields,
  sigma_min: z.number().positive().nullable().default(null),
  sigma_max: z.number().positive().nullable().default(null),
  timestep_type: z.enum(['discrete', 'continuous']).default('discrete'),
  rescale_betas_zero_snr: z.boolean().default(false),
  final_sigmas_type: z.enum(['zero', 'sigma_min']).default('zero'),
};

/** Custom `sigmas` include the last one, usually 0, and so are one more than the steps. */
export class EulerDiscreteScheduler extends SigmaScheduler {
  readonly className = 'EulerDiscreteScheduler';
  readonly config;
  protected override readonly takes = ['sigmas', 'timesteps'] as const;

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super();
    this.config = parseConfig(this.className, fields, config);
  }

  clone(): EulerDiscreteScheduler {
    return new EulerDiscreteScheduler(this.config);
  }

  protected plan(options: SetTimestepsOptions): Schedule {
    const schedule = options.sigmas ? this.#customLevels(options.sigmas) : this.#ownLevels(options);
    // Continuous time is a function of sigma for models that predict v.
    const { timestep_type: type, prediction_type: prediction } = this.config;
    if (type === 'continuous' && prediction === 'v_prediction') {
      schedule.timesteps = schedule.sigmas.slice(0, -1).map((sigma) => 0.25 * Math.log(Math.fround(sigma)));
    }
    return singlePrecision(schedule);
  }

  #customLevels(sigmas: readonly number[]) {
    if (sigmas.length < 2) throw this.invalid('sigmas need at least two entries, the last of which ends the schedule');
    return { timesteps: this.timestepsOf(sigmas.slice(0, -1)), sigmas: [...sigmas] };
  }

  #ownLevels(options: SetTimestepsOptions) {
    const { timesteps, sigmas } = this.levels(options);
    const last = this.config.final_sigmas_type === 'zero' ? 0 : this.trainingSigmas[0]!;
    return { timesteps, sigmas: [...sigmas, last] };
  }

  protected advance(input: AdvanceInput): AdvanceResult {
    const sigma = this.sigmas[input.index]!;
    const original = this.predictOriginal(input);
    const dt = this.sigmas[input.index + 1]! - sigma;
    const prevSample = moveAlong(input.sample, derivativeAt(sigma, input.sample, original), dt);
    return { prevSample, predOriginalSample: original };
  }
}
