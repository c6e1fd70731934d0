/** Heun's second-order method on the noise levels of training (Karras et al. 2022, algorithm 1). */
import * as z from 'zod';
import { parseConfig, sigmaSpacingFields } from '../config.ts';
import { pairUp } from '../flow-match/flow-match-heun.ts';
import { HeunStep } from '../heun-step.ts';
import { clippingFields, limitOriginal } from '../prediction.ts';
import type { SetTimestepsOptions } from '../scheduler.ts';
import type { AdvanceInput, AdvanceResult, Schedule } from '../scheduler-base.ts';
import { derivativeAt, SigmaScheduler, sigmaFields, singlePrecision } from './sigma-scheduler.ts';

const fields = {
  ...sigmaFields,
  beta_start: sigmaFields.beta_start.unwrap().default(0.00085),
  beta_end: sigmaFields.beta_end.unwrap().default(0.012),
  ...sigmaSpacingFields,
  ...clippingFields,
  clip_sample: z.boolean().default(false),
};

/** Two model calls for each step but the last: `timesteps` has 2 N - 1 entries, all but the first in pairs. */
export class HeunDiscreteScheduler extends SigmaScheduler {
  readonly className = 'HeunDiscreteScheduler';
  readonly config;
  override readonly order = 2;
  protected override readonly takes = ['timesteps'] as const;
  readonly #heun = new HeunStep();

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super();
    this.config = parseConfig(this.className, fields, config);
  }

  clone(): HeunDiscreteScheduler {
    return new HeunDiscreteScheduler(this.config);
  }

  protected override forget(): void {
    this.#heun.reset();
  }

  protected plan(options: SetTimestepsOptions): Schedule {
    const { timesteps, sigmas } = this.levels(options);
    return singlePrecision({ timesteps: pairUp(timesteps), sigmas: [...pairUp(sigmas), 0] });
  }

  protected advance(input: AdvanceInput): AdvanceResult {
    const { sample, shape, index } = input;
    const sigma = this.sigmas[index]!;
    const original = limitOriginal(this.predictOriginal(input), shape, this.config);
    const derivative = derivativeAt(sigma, sample, original);
    const dt = Math.fround(this.sigmas[index + 1]! - sigma);
    return { prevSample: this.#heun.take({ derivative, sample, dt }), predOriginalSample: original };
  }
}
