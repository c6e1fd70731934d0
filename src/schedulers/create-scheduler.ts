/** Schedulers by the class name that a checkpoint's `scheduler_config.json` gives. */
import { DejaDitError, suggest } from '../errors/errors.ts';
import { CogVideoXDDIMScheduler, CogVideoXDPMScheduler } from './cogvideox.ts';
import { DDIMScheduler } from './ddim.ts';
import { DDPMScheduler } from './ddpm.ts';
import { DPMSolverMultistepScheduler } from './dpm-solver-multistep.ts';
import { DPMSolverSinglestepScheduler } from './dpm-solver-singlestep.ts';
import { EulerDiscreteScheduler } from './euler.ts';
import { EulerAncestralDiscreteScheduler } from './euler-ancestral.ts';
import { FlowMatchEulerDiscreteScheduler } from './flow-match-euler.ts';
import { FlowMatchHeunDiscreteScheduler } from './flow-match-heun.ts';
import { FlowMatchLCMScheduler } from './flow-match-lcm.ts';
import { HeunDiscreteScheduler } from './heun.ts';
import { LCMScheduler } from './lcm.ts';
import type { Scheduler } from './scheduler.ts';
import { SCMScheduler } from './scm.ts';
import { UniPCMultistepScheduler } from './unipc.ts';

const classes = {
  CogVideoXDDIMScheduler,
  CogVideoXDPMScheduler,
  DDIMScheduler,
  DDPMScheduler,
  DPMSolverMultistepScheduler,
  DPMSolverSinglestepScheduler,
  EulerAncestralDiscreteScheduler,
  EulerDiscreteScheduler,
  FlowMatchEulerDiscreteScheduler,
  FlowMatchHeunDiscreteScheduler,
  FlowMatchLCMScheduler,
  HeunDiscreteScheduler,
  LCMScheduler,
  SCMScheduler,
  UniPCMultistepScheduler,
} satisfies Record<string, new (config?: Readonly<Record<string, unknown>>) => Scheduler>;

export const schedulerClassNames = Object.keys(classes) as (keyof typeof classes)[];

/**
 * The scheduler for a `scheduler_config.json`.
 * @param className its `_class_name`
 * @param config its fields, in snake case or camel case; absent or null ones take the defaults of Diffusers
 * @throws DejaDitError `UNSUPPORTED` for an unknown class, `INVALID_CONFIG` for a field's value, naming the field
 * @example
 * const scheduler = createScheduler('FlowMatchEulerDiscreteScheduler', { shift: 3 });
 */
export function createScheduler(className: string, config: Readonly<Record<string, unknown>> = {}): Scheduler {
  if (!Object.hasOwn(classes, className)) {
    throw new DejaDitError('UNSUPPORTED', `no scheduler '${className}'; ${suggest(className, schedulerClassNames)}`);
  }
  return new classes[className as keyof typeof classes](config);
}
