/** Heun's second-order method along straight flows. */
import * as z from 'zod';
import { parseConfig, trainTimesteps } from '../config.ts';
import { HeunStep } from '../heun-step.ts';
import type { SetTimestepsOptions } from '../scheduler.ts';
import { type AdvanceInput, type AdvanceResult, type Schedule, SchedulerBase } from '../scheduler-base.ts';
import { staticShift } from '../spacing/flow-shift.ts';
import { trainingLevels } from './flow-match-scheduler.ts';

const { fround } = Math;

const fields = { num_train_timesteps: trainTimesteps, shift: z.number().positive().default(1) };

/** Two model calls for each step but the last: `timesteps` has 2 N - 1 entries, all but the first in pairs. */
export class FlowMatchHeunDiscreteScheduler extends SchedulerBase {
  readonly className = 'FlowMatchHeunDiscreteScheduler';
  readonly config;
  override readonly order = 2;
  readonly #heun = new HeunStep();

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super();
    this.config = parseConfig(this.className, fields, config);
  }

  clone(): FlowMatchHeunDiscreteScheduler {
    return new FlowMatchHeunDiscreteScheduler(this.config);
  }

  protected override forget(): void {
    this.#heun.reset();
  }

  protected plan({ numInferenceSteps }: SetTimestepsOptions): Schedule {
    const { num_train_timesteps: trainSteps, shift } = this.config;
    const levels = trainingLevels({ trainSteps, shift, count: numInferenceSteps! });
    const sigmas = pairUp(Array.from(levels, (level) => fround(staticShift(level, shift, (x) => x))));
    return { timesteps: sigmas.map((sigma) => fround(sigma * trainSteps)), sigmas: [...sigmas, 0] };
  }

  protected advance({ modelOutput, sample, index }: AdvanceInput): AdvanceResult {
    const sigma = this.sigmas[index]!;
    // The slope is the velocity itself, but Diffusers computes it from the clean sample and rounds on the way.
    const derivative = sample.map((value, i) => {
      const clean = fround(value - fround(modelOutput[i]! * sigma));
      return fround(value - clean) / sigma;
    });
    const dt = fround(this.sigmas[index + 1]! - sigma);
    return { prevSample: this.#heun.take({ derivative, sample, dt }) };
  }

  protected noiseMix(index: number): [number, number] {
    return [1 - this.sigmas[index]!, this.sigmas[index]!];
  }
}

/** The first value once, the others twice. */
export function pairUp(values: readonly number[]): number[] {
  return values.flatMap((value, i) => (i === 0 ? [value] : [value, value]));
}
