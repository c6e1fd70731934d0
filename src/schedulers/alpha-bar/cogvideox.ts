/** The two schedulers of CogVideoX: DDIM and a second-order SDE solver, on a noise schedule with shifted SNR. */
import * as z from 'zod';
import { parseConfig } from '../config.ts';
import { predictOriginal } from '../prediction.ts';
import type { SetTimestepsOptions } from '../scheduler.ts';
import { type AdvanceInput, type AdvanceResult, type Schedule, weightedSum } from '../scheduler-base.ts';
import { alphasCumprod, noiseScheduleFields, zeroTerminalSnr } from '../spacing/noise-schedule.ts';
import { timestepSpacing } from '../spacing/timestep-spacing.ts';
import { AlphaBarScheduler } from './alpha-bar-scheduler.ts';

const fields = {
  ...noiseScheduleFields,
  beta_start: noiseScheduleFields.beta_start.unwrap().default(0.00085),
  beta_end: noiseScheduleFields.beta_end.unwrap().default(0.012),
  beta_schedule: noiseScheduleFields.beta_schedule.unwrap().default('scaled_linear'),
  set_alpha_to_one: z.boolean().default(true),
  steps_offset: z.int().min(0).default(0),
  prediction_type: z.enum(['epsilon', 'sample', 'v_prediction']).default('epsilon'),
  timestep_spacing: timestepSpacing.default('leading'),
  rescale_betas_zero_snr: z.boolean().default(false),
  snr_shift_scale: z.number().positive().default(3),
};

abstract class CogVideoXScheduler extends AlphaBarScheduler {
  readonly config;
  protected readonly alphasCumprod;
  protected readonly finalAlphaCumprod;

  constructor(className: string, config: Readonly<Record<string, unknown>>) {
    super();
    this.config = parseConfig(className, fields, config);
    const { snr_shift_scale: scale, rescale_betas_zero_snr: zeroSnr } = this.config;
    const double = (x: number) => x;
    const plain = alphasCumprod({ ...this.config, rescale_betas_zero_snr: false }, double);
    const shifted = plain.map((bar) => bar / (scale + (1 - scale) * bar));
    this.alphasCumprod = zeroSnr ? zeroTerminalSnr(shifted, double) : shifted;
    this.finalAlphaCumprod = this.config.set_alpha_to_one ? 1 : this.alphasCumprod[0]!;
  }

  protected plan({ numInferenceSteps }: SetTimestepsOptions): Schedule {
    return this.integerSchedule({
      spacing: this.config.timestep_spacing,
      count: numInferenceSteps!,
      stepsOffset: this.config.steps_offset,
    });
  }

  /** Signal shares before and after a step, and the predicted clean sample. */
  protected look({ modelOutput, sample, timestep }: AdvanceInput) {
    const bar = this.alphaBar(timestep);
    const nextTimestep = timestep - Math.floor(this.alphasCumprod.length / this.timesteps.length);
    const type = this.config.prediction_type;
    const alpha = Math.sqrt(bar);
    const original = predictOriginal({ type, modelOutput, sample, alpha, sigma: Math.sqrt(1 - bar) });
    return { bar, nextBar: this.alphaBar(nextTimestep), isLast: nextTimestep < 0, original };
  }
}

/** DDIM without added noise. */
export class CogVideoXDDIMScheduler extends CogVideoXScheduler {
  readonly className = 'CogVideoXDDIMScheduler';

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super('CogVideoXDDIMScheduler', config);
  }

  clone(): CogVideoXDDIMScheduler {
    return new CogVideoXDDIMScheduler(this.config);
  }

  protected advance(input: AdvanceInput): AdvanceResult {
    const { bar, nextBar, original } = this.look(input);
    const keep = Math.sqrt((1 - nextBar) / (1 - bar));
    const prevSample = weightedSum([keep, input.sample], [Math.sqrt(nextBar) - Math.sqrt(bar) * keep, original]);
    return { prevSample, predOriginalSample: original };
  }
}

/** DPM-Solver++(2M) SDE (Lu et al. 2022, https://arxiv.org/abs/2211.01095); the first and last steps are of first order. */
export class CogVideoXDPMScheduler extends CogVideoXScheduler {
  readonly className = 'CogVideoXDPMScheduler';
  #previous: { original: Float32Array; bar: number } | undefined;

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super('CogVideoXDPMScheduler', config);
  }

  clone(): CogVideoXDPMScheduler {
    return new CogVideoXDPMScheduler(this.config);
  }

  protected override forget(): void {
    this.#previous = undefined;
  }

  protected advance(input: AdvanceInput): AdvanceResult {
    const { bar, nextBar, isLast, original } = this.look(input);
    // Half the log of the signal to noise ratio; infinite without noise, which exp takes to the right limits.
    const lambda = (share: number) => Math.log(Math.sqrt(share / (1 - share)));
    const h = lambda(nextBar) - lambda(bar);
    const sampleScale = Math.sqrt((1 - nextBar) / (1 - bar)) * Math.exp(-h);
    const originalScale = -Math.expm1(-2 * h) * Math.sqrt(nextBar);
    const noiseScale = Math.sqrt(1 - nextBar) * Math.sqrt(1 - Math.exp(-2 * h));

    let noise = input.noise();
    let direction = original;
    if (this.#previous && !isLast) {
      // Diffusers draws for a first-order step here too and throws it away; the stream of noise has to keep up.
      noise = input.noise();
      const r = (lambda(bar) - lambda(this.#previous.bar)) / h;
      direction = weightedSum([1 + 1 / (2 * r), original], [-1 / (2 * r), this.#previous.original]);
    }
    this.#previous = { original, bar };
    const prevSample = weightedSum([sampleScale, input.sample], [originalScale, direction], [noiseScale, noise]);
    return { prevSample, predOriginalSample: original };
  }
}
