/** The scheduler of one request in place of the checkpoint's: another class, other fields, or both. */
import { DejaDitError } from '../../errors/errors.ts';
import { createScheduler } from '../../schedulers/create-scheduler.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { type Levels, samplerNamed } from './samplers.ts';

/**
 * A class by Diffusers' name or a sampler by that of other tools (`samplers.ts`), or one with fields of its `scheduler_config.json`;
 * without a class, the checkpoint's own.
 */
export type SchedulerChoice = string | { readonly className?: string; readonly [field: string]: unknown };

/** Solvers that step along noise levels of either kind, if they are told which. */
const solvers = ['DPMSolverMultistepScheduler', 'DPMSolverSinglestepScheduler', 'UniPCMultistepScheduler'];

/**
 * The checkpoint's configuration in the chosen class, as Diffusers' `from_config` hands it over, under the fields that are given. A solver
 * is told that the model predicts flows where that is what it does.
 * @throws DejaDitError `INVALID_ARGUMENT` for a class that steps along levels of another kind than the model was trained with, or as
 *   `createScheduler` does
 */
export function chooseScheduler(own: Scheduler, choice: SchedulerChoice): Scheduler {
  const { className, _class_name, ...given } = typeof choice === 'string' ? { className: choice } : choice;
  const asked = String(className ?? _class_name ?? own.className);
  const levels = levelsOf(own);
  const sampler = samplerNamed(asked, levels);
  const name = sampler?.className ?? asked;
  const fields = { ...sampler?.fields, ...given };
  if (levels !== 'flows' && given['shift'] !== undefined)
    throw new DejaDitError('INVALID_ARGUMENT', `a shift is of flows, this model was trained with ${levels}`, {
      path: 'scheduler.shift',
    });
  // What the one calls shift is the other's flow_shift.
  const shift = own.config['shift'] ?? own.config['flow_shift'] ?? 1;
  const flows = levels === 'flows';
  const told =
    flows && solvers.includes(name)
      ? { prediction_type: 'flow_prediction', use_flow_sigmas: true, flow_shift: shift }
      : flows
        ? { shift }
        : {};
  try {
    const chosen = createScheduler(name, { ...own.config, ...told, ...fields });
    if (levelsOf(chosen) !== levelsOf(own)) throw mismatch(own, chosen);
    return chosen;
  } catch (cause) {
    if (!(cause instanceof DejaDitError) || cause.path === 'scheduler') throw cause;
    throw new DejaDitError('INVALID_ARGUMENT', cause.message, { path: 'scheduler', cause });
  }
}

/** What a scheduler steps along. */
export function levelsOf({ className, config }: Scheduler): Levels {
  if (className === 'SCMScheduler') return 'angles';
  return className.startsWith('FlowMatch') || config['use_flow_sigmas'] === true ? 'flows' : 'noise';
}

function mismatch(own: Scheduler, chosen: Scheduler): DejaDitError {
  const hint = levelsOf(own) === 'flows' ? `, as FlowMatchEulerDiscreteScheduler or ${solvers[0]} do` : '';
  const message = `a ${chosen.className} steps along ${levelsOf(chosen)}, this model was trained with ${levelsOf(own)}: choose one that goes along these${hint}`;
  return new DejaDitError('INVALID_ARGUMENT', message, { path: 'scheduler' });
}
