/** Pseudo linear multistep (Liu et al. 2022, https://arxiv.org/abs/2202.09778), the scheduler that Stable Diffusion 1 and 2 come with. */
import * as z from 'zod';
import { parseConfig } from '../config.ts';
import { predictNoise } from '../prediction.ts';
import type { SetTimestepsOptions } from '../scheduler.ts';
import { type AdvanceInput, type AdvanceResult, type Schedule, weightedSum } from '../scheduler-base.ts';
import { alphasCumprod, noiseScheduleFields } from '../spacing/noise-schedule.ts';
import { timestepSpacing } from '../spacing/timestep-spacing.ts';
import { AlphaBarScheduler } from './alpha-bar-scheduler.ts';

const fields = {
  ...noiseScheduleFields,
  // The Runge-Kutta steps of the paper's other half take four model calls each; no published pipeline has them.
  skip_prk_steps: z.literal(true, { error: 'only true is supported: steps by the linear multistep formula alone' }),
  set_alpha_to_one: z.boolean().default(false),
  prediction_type: z.enum(['epsilon', 'v_prediction']).default('epsilon'),
  timestep_spacing: timestepSpacing.default('leading'),
  steps_offset: z.int().min(0).default(0),
};

/** Weights of the latest predictions, the last first, by how many there are (Adams and Bashforth). */
const weights = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]] as const;

/**
 * The second step repeats the first: with what the model says at its end, averaged with what it said at its beginning. So there is one
 * model call more than steps, and the second timestep stands in the schedule twice.
 */
export class PNDMScheduler extends AlphaBarScheduler {
  readonly className = 'PNDMScheduler';
  readonly config;
  protected readonly alphasCumprod;
  protected readonly finalAlphaCumprod;
  private stride = 0;
  /** Model outputs, the latest first. */
  private outputs: Float32Array[] = [];
  private taken = 0;
  private first: Float32Array | undefined;

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super();
    this.config = parseConfig(this.className, fields, config);
    this.alphasCumprod = alphasCumprod(this.config);
    this.finalAlphaCumprod = this.config.set_alpha_to_one ? 1 : this.alphasCumprod[0]!;
  }

  clone(): PNDMScheduler {
    return new PNDMScheduler(this.config);
  }

  protected override forget(): void {
    this.outputs = [];
    this.taken = 0;
    this.first = undefined;
  }

  protected plan({ numInferenceSteps }: SetTimestepsOptions): Schedule {
    const { timestep_spacing: spacing, steps_offset: stepsOffset } = this.config;
    const { timesteps } = this.integerSchedule({ spacing, count: numInferenceSteps!, stepsOffset });
    const [start, second, ...rest] = Array.from(timesteps);
    this.stride = Math.floor(this.alphasCumprod.length / numInferenceSteps!);
    const repeated = second === undefined ? [] : [second, second];
    return { timesteps: [start!, ...repeated, ...rest], sigmas: [] };
  }

  protected advance({ modelOutput, sample, timestep }: AdvanceInput): AdvanceResult {
    const repeats = this.taken++ === 1;
    const [from, to] = repeats ? [timestep + this.stride, timestep] : [timestep, timestep - this.stride];
    if (repeats) {
      const mean = weightedSum([1 / 2, modelOutput], [1 / 2, this.outputs[0]!]);
      return { prevSample: this.move(this.first!, mean, { from, to }) };
    }
    this.outputs = [modelOutput, ...this.outputs].slice(0, weights.length);
    this.first = sample;
    const combined = weightedSum(
      ...weights[this.outputs.length - 1]!.map((weight, i) => [weight, this.outputs[i]!] as const),
    );
    return { prevSample: this.move(sample, combined, { from, to }) };
  }

  /** Equation 11 of the paper. */
  private move(
    sample: Float32Array,
    modelOutput: Float32Array,
    { from, to }: { from: number; to: number },
  ): Float32Array {
    const [bar, nextBar] = [this.alphaBar(from), this.alphaBar(to)];
    const [alpha, sigma] = [Math.sqrt(bar), Math.sqrt(1 - bar)];
    const noise = predictNoise({ type: this.config.prediction_type, modelOutput, sample, alpha, sigma });
    const denominator = bar * Math.sqrt(1 - nextBar) + Math.sqrt(bar * (1 - bar) * nextBar);
    return weightedSum([Math.sqrt(nextBar / bar), sample], [(bar - nextBar) / denominator, noise]);
  }
}
