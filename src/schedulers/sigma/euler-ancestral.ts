/** Euler's method overshooting to a lower noise level, with fresh noise to come back up. */
import * as z from 'zod';
import { parseConfig } from '../config.ts';
import type { SetTimestepsOptions } from '../scheduler.ts';
import { type AdvanceInput, type AdvanceResult, moveAlong, type Schedule } from '../scheduler-base.ts';
import { derivativeAt, SigmaScheduler, sigmaFields, singlePrecision } from './sigma-scheduler.ts';

const fields = {
  ...sigmaFields,
  prediction_type: z.enum(['epsilon', 'v_prediction']).default('epsilon'),
  rescale_betas_zero_snr: z.boolean().default(false),
};

export class EulerAncestralDiscreteScheduler extends SigmaScheduler {
  readonly className = 'EulerAncestralDiscreteScheduler';
  readonly config;

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super();
    this.config = parseConfig(this.className, fields, config);
  }

  clone(): EulerAncestralDiscreteScheduler {
    return new EulerAncestralDiscreteScheduler(this.config);
  }

  protected plan(options: SetTimestepsOptions): Schedule {
    const { timesteps, sigmas } = this.levels(options);
    return singlePrecision({ timesteps, sigmas: [...sigmas, 0] });
  }

  protected advance(input: AdvanceInput): AdvanceResult {
    const { sample, index, noise } = input;
    const [from, to] = [this.sigmas[index]!, this.sigmas[index + 1]!];
    const up = Math.sqrt((to ** 2 * (from ** 2 - to ** 2)) / from ** 2);
    const down = Math.sqrt(to ** 2 - up ** 2);
    const original = this.predictOriginal(input);
    const derivative = derivativeAt(from, sample, original);
    const prevSample = moveAlong(moveAlong(sample, derivative, down - from), noise(), up);
    return { prevSample, predOriginalSample: original };
  }
}
