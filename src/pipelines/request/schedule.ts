/** Schedules as pipelines ask their schedulers for them. */
import { DejaDitError } from '../../errors/errors.ts';
import type { Scheduler, SetTimestepsOptions } from '../../schedulers/scheduler.ts';
import { calculateShift } from '../../schedulers/spacing/flow-shift.ts';
import { linspace } from '../../schedulers/spacing/sigma-spacing.ts';

interface Asked {
  numInferenceSteps: number;
  sigmas?: readonly number[];
  timesteps?: readonly number[];
}

/** The caller's levels or times, or the scheduler's own. */
export function givenSchedule({ sigmas, timesteps, numInferenceSteps }: Asked): SetTimestepsOptions {
  return sigmas ? { sigmas } : timesteps ? { timesteps } : { numInferenceSteps };
}

/** Levels of a flow, from pure noise to one step before none, shifted by the number of image tokens. */
export function flowSchedule(
  { sigmas, numInferenceSteps: steps }: Asked,
  { scheduler, tokens }: { scheduler: Scheduler; tokens: number },
): SetTimestepsOptions {
  return { sigmas: sigmas ?? flowSigmas(steps), mu: resolutionShift(scheduler, tokens) };
}

/** The same from 1 to one step before 0, in equal steps, as HunyuanVideo and HunyuanImage have them. */
export function flowSigmasToZero(steps: number): number[] {
  return Array.from({ length: steps }, (_, i) => 1 - i / steps);
}

/** 1, …, 1/steps. */
export function flowSigmas(steps: number): number[] {
  return [...linspace(1, 1 / steps, steps)];
}

/** The shift of noise levels that a scheduler's config asks for at this many image tokens. @param maxShift where it sets none */
export function resolutionShift({ config }: Scheduler, imageSeqLen: number, maxShift = 1.15): number {
  return calculateShift({
    imageSeqLen,
    baseSeqLen: Number(config['base_image_seq_len'] ?? 256),
    maxSeqLen: Number(config['max_image_seq_len'] ?? 4096),
    baseShift: Number(config['base_shift'] ?? 0.5),
    maxShift: Number(config['max_shift'] ?? maxShift),
  });
}

interface LateSteps {
  numInferenceSteps: number;
  strength: number;
  wholeSteps?: boolean | undefined;
}

/**
 * The last `strength` share of the schedule, where the scheduler then starts.
 * @param wholeSteps whether a fraction of a step is not taken, as in Diffusers' older pipelines. Default: it is
 * @throws DejaDitError if no step is left
 */
export function lateTimesteps(
  scheduler: Scheduler,
  { numInferenceSteps: steps, strength, wholeSteps = false }: LateSteps,
): readonly number[] {
  const taken = Math.min(steps * strength, steps);
  const first = Math.floor(steps - (wholeSteps ? Math.floor(taken) : taken)) * scheduler.order;
  const timesteps = scheduler.timesteps.slice(first);
  if (timesteps.length === 0)
    throw new DejaDitError('INVALID_ARGUMENT', `${strength} of ${steps} steps leaves no step to run`, {
      path: 'strength',
    });
  scheduler.setBeginIndex(first);
  return timesteps;
}
