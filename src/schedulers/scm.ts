/** Continuous-time consistency sampling in trigonometric time (Lu and Song 2024, https://arxiv.org/abs/2410.11081). */
import * as z from 'zod';
import { parseConfig, trainTimesteps } from './config.ts';
import type { SetTimestepsOptions } from './scheduler.ts';
import { type AdvanceInput, type AdvanceResult, type Schedule, SchedulerBase, weightedSum } from './scheduler-base.ts';
import { linspace } from './spacing/sigma-spacing.ts';

const fields = {
  num_train_timesteps: trainTimesteps,
  prediction_type: z.enum(['trigflow']).default('trigflow'),
  sigma_data: z.number().positive().default(0.5),
};

/** Pure noise lies at pi / 2, which Diffusers rounds to this. */
const maxTimestep = 1.5708;
/** The one stop on the way when there are two steps. */
const intermediateTimestep = 1.3;

/**
 * The scheduler of SANA-Sprint: x = cos(t) * clean + sin(t) * noise, with timesteps in radians. Each step predicts the
 * clean sample and adds fresh noise of standard deviation `sigma_data` to it.
 */
export class SCMScheduler extends SchedulerBase {
  readonly className = 'SCMScheduler';
  readonly config;
  protected override readonly takes = ['timesteps'] as const;

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super();
    this.config = parseConfig(this.className, fields, config);
  }

  clone(): SCMScheduler {
    return new SCMScheduler(this.config);
  }

  protected plan({ numInferenceSteps, timesteps }: SetTimestepsOptions): Schedule {
    if (timesteps && timesteps[0]! > maxTimestep) {
      throw this.invalid(`timesteps are angles up to ${maxTimestep}, got ${timesteps[0]}`);
    }
    const angles =
      timesteps ??
      (numInferenceSteps === 2
        ? [maxTimestep, intermediateTimestep]
        : linspace(maxTimestep, 0, numInferenceSteps! + 1).slice(0, -1));
    return { timesteps: Float32Array.from(angles), sigmas: [] };
  }

  protected advance({ modelOutput, sample, index, timestep, noise }: AdvanceInput): AdvanceResult {
    const original = weightedSum([Math.cos(timestep), sample], [-Math.sin(timestep), modelOutput]);
    const next = this.timesteps[index + 1] ?? 0;
    const noiseScale = Math.sin(next) * this.config.sigma_data;
    const prevSample = weightedSum([Math.cos(next), original], [noiseScale, noise('float32')]);
    return { prevSample, predOriginalSample: original };
  }

  protected noiseMix(_index: number, timestep: number): [number, number] {
    return [Math.cos(timestep), Math.sin(timestep) * this.config.sigma_data];
  }
}
