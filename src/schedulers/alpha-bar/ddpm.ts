/** Denoising diffusion probabilistic models (Ho et al. 2020, https://arxiv.org/abs/2006.11239): ancestral sampling. */
import * as z from 'zod';
import { parseConfig } from '../config.ts';
import { clippingFields, limitOriginal, predictOriginal, thresholdingFields } from '../prediction.ts';
import type { SetTimestepsOptions } from '../scheduler.ts';
import { type AdvanceInput, type AdvanceResult, type Schedule, weightedSum } from '../scheduler-base.ts';
import { alphasCumprod, noiseScheduleFields } from '../spacing/noise-schedule.ts';
import { timestepSpacing } from '../spacing/timestep-spacing.ts';
import { AlphaBarScheduler } from './alpha-bar-scheduler.ts';

const { fround } = Math;

const fields = {
  ...noiseScheduleFields,
  variance_type: z.enum(['fixed_small', 'fixed_small_log', 'fixed_large']).default('fixed_small'),
  ...clippingFields,
  prediction_type: z.enum(['epsilon', 'sample', 'v_prediction']).default('epsilon'),
  ...thresholdingFields,
  timestep_spacing: timestepSpacing.default('leading'),
  steps_offset: z.int().min(0).default(0),
  rescale_betas_zero_snr: z.boolean().default(false),
};

/** Equation 7 of the paper. Variances that the model predicts itself are not supported. */
export class DDPMScheduler extends AlphaBarScheduler {
  readonly className = 'DDPMScheduler';
  readonly config;
  protected override readonly takes = ['timesteps'] as const;
  protected readonly alphasCumprod;
  protected readonly finalAlphaCumprod = 1;

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super();
    this.config = parseConfig(this.className, fields, config);
    this.alphasCumprod = alphasCumprod(this.config);
  }

  clone(): DDPMScheduler {
    return new DDPMScheduler(this.config);
  }

  protected plan({ numInferenceSteps, timesteps }: SetTimestepsOptions): Schedule {
    if (timesteps) return this.checkedSchedule(timesteps);
    return this.integerSchedule({
      spacing: this.config.timestep_spacing,
      count: numInferenceSteps!,
      stepsOffset: this.config.steps_offset,
    });
  }

  protected advance({ modelOutput, sample, shape, index, timestep, noise }: AdvanceInput): AdvanceResult {
    // In single precision step by step: beta is a small difference, and how it is rounded shows in the result.
    const bar = this.alphaBar(timestep);
    const nextBar = this.alphaBar(this.timesteps[index + 1] ?? -1);
    const alpha = fround(bar / nextBar);
    const beta = fround(1 - alpha);
    const [noiseShare, nextNoiseShare] = [fround(1 - bar), fround(1 - nextBar)];
    const type = this.config.prediction_type;
    const prediction = { type, modelOutput, sample, alpha: Math.sqrt(bar), sigma: Math.sqrt(noiseShare) };
    const original = limitOriginal(predictOriginal(prediction), shape, this.config);
    const posteriorVariance = Math.max(fround(nextNoiseShare / noiseShare) * beta, 1e-20);
    const variance = this.config.variance_type === 'fixed_large' ? beta : posteriorVariance;
    const prevSample = weightedSum(
      [(Math.sqrt(nextBar) * beta) / noiseShare, original],
      [(Math.sqrt(alpha) * nextNoiseShare) / noiseShare, sample],
      ...(timestep > 0 ? [[Math.sqrt(variance), noise()] as const] : []),
    );
    return { prevSample, predOriginalSample: original };
  }
}
