/** Latent consistency models (Luo et al. 2023, https://arxiv.org/abs/2310.04378): few steps, noised again between them. */
import * as z from 'zod';
import { parseConfig, trainTimesteps } from '../config.ts';
import { clippingFields, limitOriginal, predictOriginal, thresholdingFields } from '../prediction.ts';
import type { SetTimestepsOptions } from '../scheduler.ts';
import { type AdvanceInput, type AdvanceResult, type Schedule, weightedSum } from '../scheduler-base.ts';
import { alphasCumprod, noiseScheduleFields } from '../spacing/noise-schedule.ts';
import { timestepSpacing } from '../spacing/timestep-spacing.ts';
import { AlphaBarScheduler } from './alpha-bar-scheduler.ts';

const fields = {
  ...noiseScheduleFields,
  beta_start: noiseScheduleFields.beta_start.unwrap().default(0.00085),
  beta_end: noiseScheduleFields.beta_end.unwrap().default(0.012),
  beta_schedule: noiseScheduleFields.beta_schedule.unwrap().default('scaled_linear'),
  original_inference_steps: trainTimesteps.unwrap().default(50),
  ...clippingFields,
  clip_sample: z.boolean().default(false),
  set_alpha_to_one: z.boolean().default(true),
  // These two stand in its configurations without having an effect, here as in Diffusers.
  steps_offset: z.int().min(0).default(0),
  timestep_spacing: timestepSpacing.default('leading'),
  prediction_type: z.enum(['epsilon', 'sample', 'v_prediction']).default('epsilon'),
  ...thresholdingFields,
  timestep_scaling: z.number().positive().default(10),
  rescale_betas_zero_snr: z.boolean().default(false),
};

const sigmaData = 0.5;

/** Multistep consistency sampling: each step predicts the clean sample, all but the last add fresh noise to it. */
export class LCMScheduler extends AlphaBarScheduler {
  readonly className = 'LCMScheduler';
  readonly config;
  protected override readonly takes = ['timesteps'] as const;
  protected readonly alphasCumprod;
  protected readonly finalAlphaCumprod;

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super();
    this.config = parseConfig(this.className, fields, config);
    this.alphasCumprod = alphasCumprod(this.config);
    this.finalAlphaCumprod = this.config.set_alpha_to_one ? 1 : this.alphasCumprod[0]!;
  }

  clone(): LCMScheduler {
    return new LCMScheduler(this.config);
  }

  /** Evenly picked from the `original_inference_steps` timesteps that the model was distilled on. */
  protected plan({ numInferenceSteps: count, timesteps }: SetTimestepsOptions): Schedule {
    if (timesteps) return this.checkedSchedule(timesteps);
    const original = this.config.original_inference_steps;
    if (count! > original) {
      throw this.invalid(`numInferenceSteps must not exceed original_inference_steps, ${original}, got ${count}`);
    }
    const stride = Math.floor(this.alphasCumprod.length / original);
    const distance = original / count!;
    const picked = Array.from({ length: count! }, (_, i) => original - Math.floor(i * distance));
    return this.checkedSchedule(picked.map((position) => position * stride - 1));
  }

  protected advance({ modelOutput, sample, shape, index, timestep, noise }: AdvanceInput): AdvanceResult {
    const bar = this.alphaBar(timestep);
    const type = this.config.prediction_type;
    const prediction = { type, modelOutput, sample, alpha: Math.sqrt(bar), sigma: Math.sqrt(1 - bar) };
    const original = limitOriginal(predictOriginal(prediction), shape, this.config);
    // The boundary condition: at timestep 0 the sample itself is the answer.
    const time = timestep * this.config.timestep_scaling;
    const skip = sigmaData ** 2 / (time ** 2 + sigmaData ** 2);
    const out = time / Math.sqrt(time ** 2 + sigmaData ** 2);
    const denoised = weightedSum([out, original], [skip, sample]);
    const next = this.timesteps[index + 1];
    if (next === undefined) return { prevSample: denoised, predOriginalSample: denoised };
    const nextBar = this.alphaBar(next);
    const prevSample = weightedSum([Math.sqrt(nextBar), denoised], [Math.sqrt(1 - nextBar), noise()]);
    return { prevSample, predOriginalSample: denoised };
  }
}
