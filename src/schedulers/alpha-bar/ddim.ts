/** Denoising diffusion implicit models (Song et al. 2020, https://arxiv.org/abs/2010.02502). */
import * as z from 'zod';
import { parseConfig } from '../config.ts';
import { clippingFields, limitOriginal, predictNoise, predictOriginal, thresholdingFields } from '../prediction.ts';
import type { SetTimestepsOptions } from '../scheduler.ts';
import { type AdvanceInput, type AdvanceResult, type Schedule, weightedSum } from '../scheduler-base.ts';
import { alphasCumprod, noiseScheduleFields } from '../spacing/noise-schedule.ts';
import { timestepSpacing } from '../spacing/timestep-spacing.ts';
import { AlphaBarScheduler } from './alpha-bar-scheduler.ts';

const fields = {
  ...noiseScheduleFields,
  ...clippingFields,
  set_alpha_to_one: z.boolean().default(true),
  steps_offset: z.int().min(0).default(0),
  prediction_type: z.enum(['epsilon', 'sample', 'v_prediction']).default('epsilon'),
  ...thresholdingFields,
  timestep_spacing: timestepSpacing.default('leading'),
  rescale_betas_zero_snr: z.boolean().default(false),
};

/** Equation 12 of the paper; `eta` of a step sets how much of the predicted noise is replaced by fresh noise. */
export class DDIMScheduler extends AlphaBarScheduler {
  readonly className = 'DDIMScheduler';
  readonly config;
  protected override readonly takesEta = true;
  protected readonly alphasCumprod;
  protected readonly finalAlphaCumprod;

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super();
    this.config = parseConfig(this.className, fields, config);
    this.alphasCumprod = alphasCumprod(this.config);
    this.finalAlphaCumprod = this.config.set_alpha_to_one ? 1 : this.alphasCumprod[0]!;
  }

  clone(): DDIMScheduler {
    return new DDIMScheduler(this.config);
  }

  protected plan({ numInferenceSteps }: SetTimestepsOptions): Schedule {
    return this.integerSchedule({
      spacing: this.config.timestep_spacing,
      count: numInferenceSteps!,
      stepsOffset: this.config.steps_offset,
    });
  }

  protected advance({ modelOutput, sample, shape, timestep, eta, noise }: AdvanceInput): AdvanceResult {
    const stride = Math.floor(this.alphasCumprod.length / this.timesteps.length);
    const bar = this.alphaBar(timestep);
    const nextBar = this.alphaBar(timestep - stride);
    const prediction = {
      type: this.config.prediction_type,
      modelOutput,
      sample,
      alpha: Math.sqrt(bar),
      sigma: Math.sqrt(1 - bar),
    };
    const original = limitOriginal(predictOriginal(prediction), shape, this.config);
    const variance = eta === 0 ? 0 : eta ** 2 * ((1 - nextBar) / (1 - bar)) * (1 - bar / nextBar);
    const prevSample = weightedSum(
      [Math.sqrt(nextBar), original],
      [Math.sqrt(Math.max(1 - nextBar - variance, 0)), predictNoise(prediction)],
      ...(eta > 0 ? [[Math.sqrt(variance), noise()] as const] : []),
    );
    return { prevSample, predOriginalSample: original };
  }
}
