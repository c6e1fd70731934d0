/**
 * What a cache remembers between the calls of one request, for one block list, tensors aside: counters and diffs per
 * guidance branch, as a plain object that can be copied and serialised, and the ways of counting. The decisions are in `decide.ts`.
 */
import type { Resolved } from './resolved-config.ts';

export interface CacheState {
  /** Steps and model calls since the state began afresh. */
  executedSteps: number;
  transformerExecutedSteps: number;
  /** The same since the request began: forced refreshes leave them. */
  accumulatedExecutedSteps: number;
  accumulatedTransformerExecutedSteps: number;
  /** A refresh forced "once" has happened. */
  refreshedOnce: boolean;
  /** The caller's number of the step that counts as step 0 here. */
  offset: number;
  /** The call in progress. */
  current: { branch: string; step: number };
  branches: Record<string, BranchState>;
}

export interface BranchState {
  /** Step of the latest call; -1 before the first. */
  step: number;
  /** A computed step has left something to re-use. */
  computed: boolean;
  /** Steps that re-used, since the state began afresh. */
  cachedSteps: number[];
  /** Diffs by step: the first one measured on it. */
  residualDiffs: Record<number, number>;
  /** DBPrune: diffs by step and block. */
  blockDiffs: Record<number, Record<number, number>>;
  /** Sum of diffs: since the last computed step (compat: of the whole context). */
  accumulatedDiff: number;
  /** Re-used steps in a row (compat: cache-dit's own way of counting them). */
  continuousCachedSteps: number;
  /** Re-used steps since the request began. */
  accumulatedCachedSteps: number;
  /** DBPrune: what has been computed, and the diffs summed since, by block. */
  blocks: Record<number, { accumulatedDiff: number }>;
  /** DBPrune: blocks pruned so far in the call in progress. */
  pruned: number;
  /** DBPrune: pruned blocks and blocks in all, by call. */
  prunedBlocks: number[];
  actualBlocks: number[];
}

/** Guidance branches a caller that does not name any has: `cond`, and with separate CFG `uncond`. */
export const COND = 'cond';
export const UNCOND = 'uncond';

export type Refresh = 'num_inference_steps' | 'force_refresh';

export function newCacheState(): CacheState {
  return {
    executedSteps: 0,
    transformerExecutedSteps: 0,
    accumulatedExecutedSteps: 0,
    accumulatedTransformerExecutedSteps: 0,
    refreshedOnce: false,
    offset: 0,
    current: { branch: COND, step: -1 },
    branches: {},
  };
}

/** The state of a branch, made when it is first asked for. */
export function branchState(state: CacheState, branch: string): BranchState {
  state.branches[branch] ??= {
    step: -1,
    computed: false,
    cachedSteps: [],
    residualDiffs: {},
    blockDiffs: {},
    accumulatedDiff: 0,
    continuousCachedSteps: 0,
    accumulatedCachedSteps: 0,
    blocks: {},
    pruned: 0,
    prunedBlocks: [],
    actualBlocks: [],
  };
  return state.branches[branch];
}

export interface BeginStep {
  state: CacheState;
  config: Resolved;
  /** Guidance branch of the call. Without: `cond`, or in turn with `enableSeparateCfg`. Compat mode always takes turns. */
  branch?: string;
  /** Number of the step, where a branch may skip some. Without: the branch's next. Compat mode always counts. */
  step?: number;
}

/**
 * Counts a model call, to be called before any decision of it; `state.current` then names its branch and step. If the
 * call starts afresh (a new request after `numInferenceSteps`, a forced refresh), the state is emptied and the reason
 * is returned: remembered tensors and forecaster histories of all branches go too.
 */
export function beginStep(args: BeginStep): Refresh | undefined {
  return args.config.semantics.beginStep(args);
}

/** The branch whose turn it is. */
export function turn(state: CacheState, config: Resolved): string {
  if (!config.enableSeparateCfg) return COND;
  const first = state.transformerExecutedSteps % 2 === 0;
  return first === config.cfgComputeFirst ? UNCOND : COND;
}

export function countSteps(state: CacheState, steps: number): void {
  state.executedSteps += steps;
  state.accumulatedExecutedSteps += steps;
}

export function countCall(state: CacheState, current: CacheState['current']): void {
  state.transformerExecutedSteps += 1;
  state.accumulatedTransformerExecutedSteps += 1;
  state.current = current;
  branchState(state, current.branch).step = current.step;
}

/** One more re-used step, which adds `increment` to those in a row. */
export function countReused(branch: BranchState, { step, increment }: { step: number; increment: number }): void {
  branch.continuousCachedSteps += increment;
  branch.cachedSteps.push(step);
  branch.accumulatedCachedSteps += 1;
}

/** Empties the state. After a forced refresh the request goes on: what it has counted in all stays. */
export function restart(state: CacheState, args: { config: Resolved; refresh: Refresh }): void {
  const before = structuredClone(state);
  Object.assign(state, newCacheState());
  if (args.refresh !== 'force_refresh') return;
  state.accumulatedExecutedSteps = before.accumulatedExecutedSteps;
  state.accumulatedTransformerExecutedSteps = before.accumulatedTransformerExecutedSteps;
  state.refreshedOnce = args.config.forceRefreshStepPolicy === 'once';
  for (const [name, { accumulatedCachedSteps }] of Object.entries(before.branches)) {
    branchState(state, name).accumulatedCachedSteps = accumulatedCachedSteps;
  }
}
