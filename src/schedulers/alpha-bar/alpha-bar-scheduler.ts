/** Base of the schedulers that look the noise up by integer timestep instead of keeping a list of sigmas. */
import { roundHalfEven } from '../../tensor/rounding.ts';
import { type Schedule, SchedulerBase } from '../scheduler-base.ts';
import { spaceTimesteps, type TimestepSpacing } from '../spacing/timestep-spacing.ts';

export abstract class AlphaBarScheduler extends SchedulerBase {
  protected abstract readonly alphasCumprod: Float64Array;
  /** Signal share after the last step. */
  protected abstract readonly finalAlphaCumprod: number;

  /** alpha bar at a timestep; past the end of the schedule (below 0) its final value. */
  protected alphaBar(timestep: number): number {
    return timestep >= 0 ? this.alphasCumprod[timestep]! : this.finalAlphaCumprod;
  }

  protected integerSchedule(spacing: Omit<TimestepSpacing, 'trainSteps'>): Schedule {
    const trainSteps = this.alphasCumprod.length;
    if (spacing.count > trainSteps) {
      throw this.invalid(`numInferenceSteps must not exceed the ${trainSteps} of training, got ${spacing.count}`);
    }
    return this.checkedSchedule(spaceTimesteps({ ...spacing, trainSteps }).map(roundHalfEven));
  }

  protected checkedSchedule(timesteps: ArrayLike<number>): Schedule {
    const last = this.alphasCumprod.length - 1;
    const bad = Array.from(timesteps).find(
      (timestep) => !(Number.isInteger(timestep) && timestep >= 0 && timestep <= last),
    );
    if (bad !== undefined) throw this.invalid(`timesteps must be integers from 0 to ${last}, got ${bad}`);
    return { timesteps, sigmas: [] };
  }

  protected noiseMix(_index: number, timestep: number): [number, number] {
    const bar = this.alphaBar(timestep);
    return [Math.sqrt(bar), Math.sqrt(1 - bar)];
  }
}
