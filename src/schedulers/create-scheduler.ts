/** Schedulers by the class name that a checkpoint's `scheduler_config.json` gives. */
import { DejaDitError, suggest } from '../errors/errors.ts';
import { CogVideoXDDIMScheduler, CogVideoXDPMScheduler } from './alpha-bar/cogvideox.ts';
import { DDIMScheduler } from './alpha-bar/ddim.ts';
import { DDPMScheduler } from './alpha-bar/ddpm.ts';
import { LCMScheduler } from './alpha-bar/lcm.ts';
import { PNDMScheduler } from './alpha-bar/pndm.ts';
import { FlowMatchEulerDiscreteScheduler } from './flow-match/flow-match-euler.ts';
import { FlowMatchHeunDiscreteScheduler } from './flow-match/flow-match-heun.ts';
import { FlowMatchLCMScheduler } from './flow-match/flow-match-lcm.ts';
import type { Scheduler } from './scheduler.ts';
import { SCMScheduler } from './scm.ts';
import { EulerDiscreteScheduler } from './sigma/euler.ts';
import { EulerAncestralDiscreteScheduler } from './sigma/euler-ancestral.ts';
import { HeunDiscreteScheduler } from './sigma/heun.ts';
import { DPMSolverMultistepScheduler } from './solvers/dpm-solver-multistep.ts';
import { DPMSolverSinglestepScheduler } from './solvers/dpm-solver-singlestep.ts';
import { UniPCMultistepScheduler } from './solvers/unipc.ts';

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
  PNDMScheduler,
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
