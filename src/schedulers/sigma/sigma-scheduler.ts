/**
 * Base of the schedulers on clean + sigma * noise (Karras et al. 2022, https://arxiv.org/abs/2206.00364), whose samples
 * grow with sigma and are scaled down for the model.
 */
import * as z from 'zod';
import { sigmaSpacing } from '../config.ts';
import type { SetTimestepsOptions } from '../scheduler.ts';
import { type AdvanceInput, moveAlong, type Schedule, SchedulerBase, weightedSum } from '../scheduler-base.ts';
import { finiteTrainingSigmas, type NoiseScheduleConfig, noiseScheduleFields } from '../spacing/noise-schedule.ts';
import { spaceSigmas } from '../spacing/sigma-spacing.ts';
import { sigmasAt, sigmaToTimestep, spaceTimesteps, timestepSpacing } from '../spacing/timestep-spacing.ts';

const { fround } = Math;

export const sigmaFields = {
  ...noiseScheduleFields,
  prediction_type: z.enum(['epsilon', 'v_prediction', 'sample']).default('epsilon'),
  timestep_spacing: timestepSpacing.default('linspace'),
  steps_offset: z.int().min(0).default(0),
};

interface SigmaConfig extends NoiseScheduleConfig {
  prediction_type: 'epsilon' | 'v_prediction' | 'sample';
  timestep_spacing: z.infer<typeof timestepSpacing>;
  steps_offset: number;
  sigma_min?: number | null;
  sigma_max?: number | null;
}

export abstract class SigmaScheduler extends SchedulerBase {
  abstract override readonly config: Readonly<SigmaConfig & Record<string, unknown>>;
  #trainingSigmas: Float32Array | undefined;

  protected get trainingSigmas(): Float32Array {
    this.#trainingSigmas ??= finiteTrainingSigmas(this.config);
    return this.#trainingSigmas;
  }

  override get initNoiseSigma(): number {
    const max = this.sigmas.length > 0 ? Math.max(...this.sigmas) : this.trainingSigmas.at(-1)!;
    return this.config.timestep_spacing === 'leading' ? fround(Math.sqrt(max ** 2 + 1)) : max;
  }

  protected override modelInputScale(index: number): number {
    return 1 / Math.sqrt(this.sigmas[index]! ** 2 + 1);
  }

  protected noiseMix(index: number): [number, number] {
    return [1, this.sigmas[index]!];
  }

  /** Timesteps and as many sigmas; the last sigma is left to the caller. Timesteps may be fractions. */
  protected levels({ numInferenceSteps, timesteps }: SetTimestepsOptions): { timesteps: number[]; sigmas: number[] } {
    const { num_train_timesteps: trainSteps, timestep_spacing: spacing, steps_offset: stepsOffset } = this.config;
    const respacing = sigmaSpacing(this.config);
    if (timesteps && respacing) throw this.invalid(`takes no timesteps with use_${respacing}_sigmas`);
    if (numInferenceSteps! > trainSteps) {
      throw this.invalid(`numInferenceSteps must not exceed the ${trainSteps} of training, got ${numInferenceSteps}`);
    }
    const visited = Array.from(
      timesteps ?? spaceTimesteps({ spacing, count: numInferenceSteps!, trainSteps, stepsOffset }),
      fround,
    );
    if (visited[0]! >= trainSteps) throw this.invalid(`timesteps must lie below ${trainSteps}, got ${visited[0]}`);
    const sigmas = Array.from(sigmasAt(visited, this.trainingSigmas));
    if (!respacing) return { timesteps: visited, sigmas };
    const max = this.config.sigma_max ?? sigmas[0]!;
    const min = this.config.sigma_min ?? sigmas.at(-1)!;
    const respaced = Array.from(spaceSigmas(respacing, { max, min, count: sigmas.length }));
    return { timesteps: this.timestepsOf(respaced), sigmas: respaced };
  }

  protected timestepsOf(sigmas: readonly number[]): number[] {
    const logSigmas = this.trainingSigmas.map(Math.log);
    return sigmas.map((sigma) => fround(sigmaToTimestep(sigma, logSigmas)));
  }

  /** The clean sample that the prediction at this noise level implies. */
  protected predictOriginal({ modelOutput, sample, index }: AdvanceInput): Float32Array {
    const sigma = this.sigmas[index]!;
    switch (this.config.prediction_type) {
      case 'sample':
        return modelOutput;
      case 'epsilon':
        return moveAlong(sample, modelOutput, -sigma);
      case 'v_prediction':
        return weightedSum([-sigma / Math.sqrt(sigma ** 2 + 1), modelOutput], [1 / (sigma ** 2 + 1), sample]);
    }
  }
}

/** Slope dx/dsigma at a noise level: from the clean sample straight through the noisy one. */
export function derivativeAt(sigma: number, sample: Float32Array, original: Float32Array): Float32Array {
  return sample.map((value, i) => fround(value - original[i]!) / sigma);
}

/** A schedule in single precision, as Diffusers keeps it. */
export function singlePrecision({
  timesteps,
  sigmas,
}: {
  timesteps: readonly number[];
  sigmas: readonly number[];
}): Schedule {
  return { timesteps: Float32Array.from(timesteps), sigmas: Float32Array.from(sigmas) };
}
