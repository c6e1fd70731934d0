/**
 * Compute or re-use: the decision of a DBCache step, with its reason. No tensors: how much the probe has changed comes
 * in as one number, and only if no earlier gate has decided, because fetching it from a GPU costs a synchronisation.
 *
 *   beginStep(...); const decision = preDecide(...) ?? decideByDiff({ ..., diff: await measure() });
 *
 * The gates are `gates.ts`; what settings mean in `compat: 'cache-dit'` is `cache-dit.ts`.
 */
import { thresholdOf } from '../config/rule.ts';
import { importance } from './error-budget.ts';
import { compare, type Decision, gatesBeforeDiff, rounded } from './gates.ts';
import type { Resolved } from './resolved-config.ts';
import { type BranchState, branchState, type CacheState, countReused } from './state.ts';

export interface DecideArgs {
  state: CacheState;
  config: Resolved;
  /** The probe has another shape than the remembered one: nothing can be re-used. */
  shapeChanged?: boolean;
}

/** Decides the call begun last; `diff` is asked only if it must be. */
export async function decide(args: DecideArgs & { diff: () => number | Promise<number> }): Promise<Decision> {
  return preDecide(args) ?? decideByDiff({ ...args, diff: await args.diff() });
}

/** The decision as far as it takes no diff; undefined: measure the diff and ask `decideByDiff`. */
export function preDecide({ state, config, shapeChanged = false }: DecideArgs): Decision | undefined {
  const { rule, semantics } = config;
  const { step } = state.current;
  const branch = branchState(state, state.current.branch);
  const verdict = gatesBeforeDiff({
    config,
    step,
    threshold: thresholdOf(rule),
    cached: branch.cachedSteps.length,
    continuous: branch.continuousCachedSteps,
    accumulated: branch.accumulatedDiff,
    remembers: branch.computed,
    shapeChanged,
  });
  if (verdict === undefined) {
    if (rule.kind === 'error_budget') return sameStep({ state, config });
    const shared = sharedDiff({ state, config });
    if (shared === undefined) return undefined;
    const decision = decideByDiff({ state, config, diff: shared.diff });
    return { ...decision, reason: `${decision.reason} (as measured on ${shared.branch})` };
  }
  if (verdict.gate === 'max_continuous') semantics.onRunLimit(branch);
  if (verdict.diff !== null) recordDiff({ branch, step, diff: verdict.diff });
  return settle({ branch, step, config, decision: verdict });
}

/** The decision by how far the probe has moved since the last computed step, in whatever way the rule measures that. */
export function decideByDiff({ state, config, diff }: DecideArgs & { diff: number }): Decision {
  const { rule } = config;
  const { step } = state.current;
  const branch = branchState(state, state.current.branch);
  if (rule.kind === 'error_budget') return decideByError({ state, config, diff, budget: rule.budget });
  recordDiff({ branch, step, diff });
  return settle({ branch, step, config, decision: compare(diff, thresholdOf(rule)) });
}

/** The decision by the forecast's visible error: what has been let through since the last computed step may fill the budget. */
function decideByError(args: DecideArgs & { diff: number; budget: number }): Decision {
  const { state, config, diff, budget: threshold } = args;
  const { step } = state.current;
  const branch = branchState(state, state.current.branch);
  const open = branch.accumulatedDiff + diff * importance(step, config.numInferenceSteps);
  const reuse = open < threshold;
  branch.residualDiffs[step] ??= diff;
  if (reuse) branch.accumulatedDiff = open;
  const reason = `error ${rounded(open)} ${reuse ? '<' : '≥'} ${rounded(threshold)}`;
  const action = reuse ? 'reuse' : 'compute';
  const decision = { action, gate: 'error_budget', reason, diff, threshold, visibleError: open } as const;
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

/** The diff another branch measured on this step, where `cfgDiffComputeSeparate: false` shares it. */
function sharedDiff({ state, config }: DecideArgs): { branch: string; diff: number } | undefined {
  const { branch, step } = state.current;
  if (config.cfgDiffComputeSeparate || !config.semantics.takesSharedDiffs(branch)) return undefined;
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

/** Counts what was decided. */
function settle(args: { branch: BranchState; step: number; config: Resolved; decision: Decision }): Decision {
  const { branch, step, config, decision } = args;
  if (decision.action === 'reuse') {
    countReused(branch, { step, increment: config.semantics.runIncrement(branch, step) });
  } else {
    branch.computed = true;
    config.semantics.onComputed(branch);
  }
  return decision;
}
