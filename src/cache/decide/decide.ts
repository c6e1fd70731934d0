/**
 * Compute or re-use: the decision of a DBCache step, with its reason. No tensors: how much the probe has changed comes
 * in as one number, and only if no earlier gate has decided, because fetching it from a GPU costs a synchronisation.
 *
 *   beginStep(...); const decision = preDecide(...) ?? decideByDiff({ ..., diff: await measure() });
 *
 * The gates, in cache-dit's order: warm-up, mask, max cached, max continuous, accumulated diff, threshold off, nothing
 * to re-use, threshold. What each does differently in `compat: 'cache-dit'` is said where it does.
 */
import { DejaDitError } from '../../errors/errors.ts';
import type { CacheConfig } from '../config/cache-config.ts';
import { importance } from './error-budget.ts';
import type { Resolved } from './resolved-config.ts';
import { type BranchState, branchState, type CacheState, COND } from './state.ts';

export type Action = 'compute' | 'reuse';

/** The gate that decided. */
export type Gate =
  | 'warmup'
  | 'mask_compute'
  | 'mask_static'
  | 'max_cached_steps'
  | 'max_continuous'
  | 'accumulated'
  | 'threshold_off'
  | 'no_buffer'
  | 'diff'
  | 'error_budget'
  | 'same_step'
  | 'protected'; // DBPrune only

export interface Decision {
  action: Action;
  gate: Gate;
  /** For people: "warm-up", "threshold 0.131 ≥ 0.12", "max continuous 3". Never empty. */
  reason: string;
  /** Relative L1 change that was compared; null where none was needed. */
  diff: number | null;
  threshold: number | null;
}

export interface DecideArgs {
  state: CacheState;
  config: Resolved;
  /** The probe has another shape than the remembered one: nothing can be re-used. */
  shapeChanged?: boolean;
}

/** cache-dit's entries in its list of diffs for "always similar" and "another shape". */
const COMPAT_ALWAYS = -1;
const COMPAT_SHAPE = -2;

/** Decides the call begun last; `diff` is asked only if it must be. */
export async function decide(args: DecideArgs & { diff: () => number | Promise<number> }): Promise<Decision> {
  return preDecide(args) ?? decideByDiff({ ...args, diff: await args.diff() });
}

/** The decision as far as it takes no diff; undefined: measure the diff and ask `decideByDiff`. */
export function preDecide({ state, config, shapeChanged = false }: DecideArgs): Decision | undefined {
  const { step } = state.current;
  const branch = branchState(state, state.current.branch);
  const threshold = thresholdOf(config);
  const verdict = gatesBeforeDiff({
    config,
    step,
    threshold,
    cached: branch.cachedSteps.length,
    continuous: branch.continuousCachedSteps,
    accumulated: branch.accumulatedDiff,
    remembers: branch.computed,
    shapeChanged,
  });
  if (verdict === undefined) {
    if (config.errorBudget !== null) return sameStep({ state, config });
    const shared = sharedDiff({ state, config });
    if (shared === undefined) return undefined;
    const decision = decideByDiff({ state, config, diff: shared.diff });
    return { ...decision, reason: `${decision.reason} (as measured on ${shared.branch})` };
  }
  if (config.compat && verdict.gate === 'max_continuous') branch.continuousCachedSteps = 0;
  if (config.compat && verdict.gate === 'diff') recordDiff({ branch, step, diff: verdict.diff! });
  return settle({ branch, step, config, decision: verdict });
}

/** The decision by the relative L1 change of the probe since the last computed step: mean|new − old| / mean|old|. */
export function decideByDiff({ state, config, diff }: DecideArgs & { diff: number }): Decision {
  const { step } = state.current;
  const branch = branchState(state, state.current.branch);
  if (config.errorBudget !== null) return decideByError({ state, config, diff });
  recordDiff({ branch, step, diff });
  return settle({ branch, step, config, decision: compare(diff, thresholdOf(config)) });
}

/** The decision by the forecast's visible error: what has been let through since the last computed step may fill the budget. */
function decideByError({ state, config, diff }: DecideArgs & { diff: number }): Decision {
  const { step } = state.current;
  const branch = branchState(state, state.current.branch);
  const threshold = config.errorBudget!;
  const open = branch.accumulatedDiff + diff * importance(step, config.numInferenceSteps);
  const reuse = open < threshold;
  branch.residualDiffs[step] ??= diff;
  if (reuse) branch.accumulatedDiff = open;
  const reason = `error ${show(open)} ${reuse ? '<' : '≥'} ${show(threshold)}`;
  const decision = { action: reuse ? 'reuse' : 'compute', gate: 'error_budget', reason, diff, threshold } as const;
  return settle({ branch, step, config, decision });
}

/**
 * What another branch decided on this step: guidance multiplies the difference between the branches, so that errors they share
 * cost less than errors they do not.
 */
function sameStep({ state, config }: DecideArgs): Decision | undefined {
  const { branch: name, step } = state.current;
  const other = Object.entries(state.branches).find(([key, { step: latest }]) => key !== name && latest === step);
  if (other === undefined) return undefined;
  const action = other[1].cachedSteps.at(-1) === step ? 'reuse' : 'compute';
  const decision = { action, gate: 'same_step', reason: `as ${other[0]}`, diff: null, threshold: null } as const;
  return settle({ branch: branchState(state, name), step, config, decision });
}

/** The threshold of a DBCache step. */
export const thresholdOf = (config: CacheConfig): number =>
  config.l1HiddenStatesDiffThreshold ?? config.residualDiffThreshold;

/** NaN (nothing remembered but zeros) computes. */
export const compare = (diff: number, threshold: number): Decision => ({
  action: diff < threshold ? 'reuse' : 'compute',
  gate: 'diff',
  reason: `threshold ${show(diff)} ${diff < threshold ? '<' : '≥'} ${show(threshold)}`,
  diff,
  threshold,
});

const show = (value: number) => String(Number(value.toPrecision(3)));

export interface GateInput {
  config: Resolved;
  step: number;
  threshold: number;
  /** Re-used steps of the branch, in all and in a row. */
  cached: number;
  continuous: number;
  /** Sum of diffs that `maxAccumulatedResidualDiffThreshold` bounds. */
  accumulated: number;
  /** Something was computed that could be re-used. */
  remembers: boolean;
  shapeChanged: boolean;
}

/** The gates that take no diff, in order; undefined if all of them let the diff decide. Changes nothing. */
export function gatesBeforeDiff(input: GateInput): Decision | undefined {
  const { config, step, threshold, shapeChanged } = input;
  const compute = (gate: Gate, reason: string): Decision => ({
    action: 'compute',
    gate,
    reason,
    diff: null,
    threshold: null,
  });
  const reusable = config.compat ? input.remembers : input.remembers && !shapeChanged;

  if (inWarmup(config, step)) return compute('warmup', 'warm-up');

  const mask = config.stepsComputationMask;
  if (mask !== null) {
    if (mask[step] === 1) return compute('mask_compute', 'mask');
    if (config.stepsComputationPolicy === 'static') {
      if (config.compat) assertReusable(input, mask);
      // a list too short for the run says nothing about the rest: computing it is the safe reading
      else if (step >= mask.length) return compute('mask_compute', `beyond the ${mask.length} steps of the mask`);
      if (reusable) return { ...compute('mask_static', 'static mask'), action: 'reuse' };
      return compute('no_buffer', nothingToReuse(input));
    }
  }

  const { maxCachedSteps, maxContinuousCachedSteps, maxAccumulatedResidualDiffThreshold: limit } = config;
  if (maxCachedSteps >= 0 && input.cached >= maxCachedSteps) {
    return compute('max_cached_steps', `max cached ${maxCachedSteps}`);
  }
  if (maxContinuousCachedSteps >= 0 && input.continuous >= maxContinuousCachedSteps) {
    return compute('max_continuous', `max continuous ${maxContinuousCachedSteps}`);
  }
  if (limit !== null && limit > 0 && input.accumulated >= limit) {
    return compute('accumulated', `accumulated ${show(input.accumulated)} ≥ ${show(limit)}`);
  }
  if (config.errorBudget !== null) return reusable ? undefined : compute('no_buffer', nothingToReuse(input));
  if (threshold <= 0) return compute('threshold_off', `threshold ${show(threshold)}: never re-use`);
  if (!reusable) return compute('no_buffer', nothingToReuse(input));

  if (threshold >= 1) {
    if (config.compat) assertReusable(input, mask);
    const diff = config.compat ? COMPAT_ALWAYS : null;
    return { action: 'reuse', gate: 'diff', reason: `threshold ${show(threshold)}: always re-use`, diff, threshold };
  }
  if (shapeChanged) return { ...compute('diff', 'the shape changed'), diff: COMPAT_SHAPE, threshold };
  return undefined;
}

/** With a mask the warm-up ends where the mask's leading run of ones does. */
function inWarmup(config: Resolved, step: number): boolean {
  const mask = config.stepsComputationMask ?? [];
  const leading = mask.indexOf(0) === -1 ? mask.length : mask.indexOf(0);
  const end = config.stepsComputationMask === null ? config.maxWarmupSteps : Math.min(config.maxWarmupSteps, leading);
  return step < end && step % config.warmupInterval === 0;
}

const nothingToReuse = ({ remembers }: GateInput) => (remembers ? 'the shape changed' : 'nothing computed yet');

/** cache-dit re-uses without looking whether it can, and raises. */
function assertReusable(input: GateInput, mask: readonly number[] | null): void {
  if (input.remembers && !input.shapeChanged) return;
  const field = mask === null ? 'residualDiffThreshold' : 'stepsComputationMask';
  throw new DejaDitError(
    input.remembers ? 'SHAPE_MISMATCH' : 'INVALID_CONFIG',
    `step ${input.step} must re-use, but ${nothingToReuse(input)} (without compat mode it is computed)`,
    { path: `cacheConfig.${field}` },
  );
}

/**
 * The diff another branch measured on this step, where `cfgDiffComputeSeparate: false` shares it. In compat mode only
 * the unconditional branch takes over the conditional one's, so with `cfgComputeFirst` nothing is ever shared.
 */
function sharedDiff({ state, config }: DecideArgs): { branch: string; diff: number } | undefined {
  const { branch, step } = state.current;
  if (config.cfgDiffComputeSeparate || (config.compat && branch === COND)) return undefined;
  for (const [name, other] of Object.entries(state.branches)) {
    const diff = other.residualDiffs[step];
    if (name !== branch && diff !== undefined) return { branch: name, diff };
  }
  return undefined;
}

/** Only the first diff of a step counts. */
function recordDiff({ branch, step, diff }: { branch: BranchState; step: number; diff: number }): void {
  if (step in branch.residualDiffs) return;
  branch.residualDiffs[step] = diff;
  if (diff > 0) branch.accumulatedDiff += diff;
}

/** Counts what was decided. A computed step ends a run of re-used ones and arms the accumulated limit again. */
function settle(args: { branch: BranchState; step: number; config: Resolved; decision: Decision }): Decision {
  const { branch, step, config, decision } = args;
  if (decision.action === 'reuse') countCached({ branch, step, config });
  else {
    branch.computed = true;
    if (!config.compat) {
      branch.continuousCachedSteps = 0;
      branch.accumulatedDiff = 0;
    }
  }
  return decision;
}

/** One more re-used step. */
export function countCached({ branch, step, config }: { branch: BranchState; step: number; config: Resolved }): void {
  if (config.compat) branch.continuousCachedSteps += compatIncrement(branch, step);
  else branch.continuousCachedSteps += 1;
  branch.cachedSteps.push(step);
  branch.accumulatedCachedSteps += 1;
}

/**
 * How cache-dit counts runs: only the limit itself ends one, a run after a computed step goes on with the old count,
 * and after the limit the count starts with the second step of a run (so that MC 1 acts like MC 2 from then on).
 */
function compatIncrement({ cachedSteps, continuousCachedSteps }: BranchState, step: number): number {
  const previous = cachedSteps.at(-1);
  if (previous === undefined) return 1;
  if (step - previous !== 1) return 0;
  return continuousCachedSteps === 0 ? 2 : 1;
}
