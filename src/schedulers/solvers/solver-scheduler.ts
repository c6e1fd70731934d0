/**
 * Base of the exponential integrators (DPM-Solver and UniPC), which step in lambda, half the log of the signal to noise
 * ratio. Samples are alpha * clean + sigma * noise; what `sigmas` lists is sigma / alpha, or sigma itself for flows.
 */
import * as z from 'zod';
import { DejaDitError } from '../../errors/errors.ts';
import { roundHalfEven } from '../../tensor/rounding.ts';
import { sigmaSpacing, sigmaSpacingFields } from '../config.ts';
import { limitOriginal, predictNoise, predictOriginal, thresholdingFields } from '../prediction.ts';
import type { SetTimestepsOptions } from '../scheduler.ts';
import { type AdvanceInput, type Schedule, SchedulerBase, weightedSum } from '../scheduler-base.ts';
import { finiteTrainingSigmas, noiseScheduleFields } from '../spacing/noise-schedule.ts';
import { spaceSigmas } from '../spacing/sigma-spacing.ts';
import { sigmaToTimestep } from '../spacing/timestep-spacing.ts';

const { fround } = Math;

export const solverFields = {
  ...noiseScheduleFields,
  solver_order: z.int().min(1).max(3).default(2),
  prediction_type: z.enum(['epsilon', 'sample', 'v_prediction', 'flow_prediction']).default('epsilon'),
  ...thresholdingFields,
  lower_order_final: z.boolean().default(true),
  ...sigmaSpacingFields,
  use_flow_sigmas: z.boolean().default(false),
  flow_shift: z.number().positive().default(1),
  final_sigmas_type: z.enum(['zero', 'sigma_min']).default('zero'),
  use_dynamic_shifting: z.boolean().default(false),
  time_shift_type: z.enum(['exponential', 'linear']).default('exponential'),
};

type SolverConfig = z.infer<z.ZodObject<typeof solverFields>> & { rescale_betas_zero_snr?: boolean };

export interface NoiseLevel {
  alpha: number;
  sigma: number;
  lambda: number;
}

/** Timesteps and as many sigmas. */
export interface Levels {
  timesteps: Float64Array;
  sigmas: Float64Array;
}

export abstract class SolverScheduler extends SchedulerBase {
  abstract override readonly config: Readonly<SolverConfig>;
  /** Whether updates are written in the clean sample; else in the noise. */
  protected abstract readonly predictsOriginal: boolean;
  #trainingSigmas: Float32Array | undefined;

  protected get trainingSigmas(): Float32Array {
    this.#trainingSigmas ??= finiteTrainingSigmas(this.config);
    return this.#trainingSigmas;
  }

  /** Whether timesteps of Karras sigmas are rounded; those of other spacings are cut off, see `integerSchedule`. */
  protected get roundsKarras(): boolean {
    return true;
  }

  /** Between which sigmas respaced ones lie. */
  protected get sigmaRange(): { max: number; min: number } {
    return { max: this.trainingSigmas.at(-1)!, min: this.trainingSigmas[0]! };
  }

  /** In single precision as in Diffusers: differences of lambdas are small enough for their rounding to show. */
  protected level(index: number): NoiseLevel {
    const ratio = this.sigmas[index]!;
    const flow = this.config.use_flow_sigmas;
    const alpha = flow ? fround(1 - ratio) : fround(1 / fround(Math.sqrt(fround(fround(ratio ** 2) + 1))));
    const sigma = flow ? ratio : fround(ratio * alpha);
    return { alpha, sigma, lambda: fround(fround(Math.log(alpha)) - fround(Math.log(sigma))) };
  }

  protected noiseMix(index: number): [number, number] {
    const { alpha, sigma } = this.level(index);
    return [alpha, sigma];
  }

  /** The model output as what updates are written in. */
  protected convert({ modelOutput, sample, shape, index }: AdvanceInput): Float32Array {
    const { alpha, sigma } = this.level(index);
    const prediction = { type: this.config.prediction_type, modelOutput, sample, alpha, sigma };
    if (this.predictsOriginal) return limitOriginal(predictOriginal(prediction), shape, this.config);
    const noise = predictNoise(prediction);
    if (!this.config.thresholding) return noise;
    const original = weightedSum([1 / alpha, sample], [-sigma / alpha, noise]);
    return weightedSum([1 / sigma, sample], [-alpha / sigma, limitOriginal(original, shape, this.config)]);
  }

  /** Sigmas respaced as configured and the timesteps nearest to them, or nothing where the configuration has none. */
  protected respaced(options: SetTimestepsOptions): Levels | undefined {
    const spacing = sigmaSpacing(this.config);
    if (!spacing) return undefined;
    if (options.timesteps) throw this.invalid(`takes no timesteps with use_${spacing}_sigmas`);
    const sigmas = spaceSigmas(spacing, { ...this.sigmaRange, count: options.numInferenceSteps! });
    const timesteps = this.timestepsOf(sigmas);
    return { sigmas, timesteps: spacing === 'karras' && this.roundsKarras ? timesteps.map(roundHalfEven) : timesteps };
  }

  protected timestepsOf(sigmas: Float64Array): Float64Array {
    const logSigmas = this.trainingSigmas.map(Math.log);
    return sigmas.map((sigma) => sigmaToTimestep(sigma, logSigmas));
  }

  /** Integer timesteps, and sigmas with the last one appended. */
  protected integerSchedule({ timesteps, sigmas }: Levels, last: number): Schedule {
    const limit = this.config.num_train_timesteps;
    if (timesteps[0]! >= limit) throw this.invalid(`timesteps must lie below ${limit}, got ${timesteps[0]}`);
    if (sigmas.some((sigma, i) => i > 0 && sigma >= sigmas[i - 1]!)) {
      throw this.invalid(`${sigmas.length} steps are too many, noise levels repeat`);
    }
    return { timesteps: timesteps.map(Math.trunc), sigmas: Float32Array.of(...sigmas, last) };
  }

  protected invalidConfig(message: string): DejaDitError {
    return new DejaDitError('INVALID_CONFIG', message, { path: this.className });
  }
}
