/**
 * Dynamic block pruning: each block of a step is computed or replaced by what it added last time, by how much its own
 * input has changed. The gates are those of a DBCache step (`gates.ts`), asked per block; tensors are the caller's.
 *
 *   beginStep(...)
 *   for each block:  decision = prePrune(...) ?? pruneByDiff({ ..., diff: await measure(block) })
 *   endPruneStep(...)
 */
import type { DBPruneConfig } from '../config/cache-config.ts';
import { thresholdOf } from '../config/rule.ts';
import { compare, computed, type Decision, gatesBeforeDiff } from './gates.ts';
import type { Resolved } from './resolved-config.ts';
import { semanticsOf } from './semantics.ts';
import { type BranchState, branchState, type CacheState } from './state.ts';

/** Of a step's diffs only the first blocks' shape the dynamic threshold. */
const THRESHOLD_BLOCKS = 5;

export interface PruneArgs {
  state: CacheState;
  config: Resolved<DBPruneConfig>;
  /** Index of the block and number of blocks in its list. */
  block: number;
  blocks: number;
  /** The block's input has another shape than the remembered one. */
  shapeChanged?: boolean;
}

/** Throws `UNSUPPORTED` for a forward pattern whose blocks cannot be pruned. */
export function assertPrunable(config: DBPruneConfig, pattern: number): void {
  semanticsOf(config).pruning.assertPattern(pattern);
}

/** Blocks that are computed on every step: the first F, the last B and `nonPruneBlockIds`. */
export function isProtected({
  config,
  block,
  blocks,
}: {
  config: DBPruneConfig;
  block: number;
  blocks: number;
}): boolean {
  const { fnComputeBlocks, bnComputeBlocks, nonPruneBlockIds } = config;
  return block < fnComputeBlocks || block >= blocks - bnComputeBlocks || nonPruneBlockIds.includes(block);
}

/** Decides a block; `diff` is asked only if it must be. */
export async function decidePrune(args: PruneArgs & { diff: () => number | Promise<number> }): Promise<Decision> {
  return prePrune(args) ?? pruneByDiff({ ...args, diff: await args.diff() });
}

/** The decision for a block as far as it takes no diff; undefined: measure the diff and ask `pruneByDiff`. */
export function prePrune(args: PruneArgs): Decision | undefined {
  const { state, config, block, shapeChanged = false } = args;
  if (isProtected(args)) {
    return computed('protected', 'protected block');
  }
  const branch = branchState(state, state.current.branch);
  const remembered = branch.blocks[block];
  const verdict = gatesBeforeDiff({
    config,
    step: state.current.step,
    threshold: pruneThreshold(state, config),
    cached: branch.cachedSteps.length,
    continuous: branch.continuousCachedSteps,
    accumulated: remembered?.accumulatedDiff ?? 0,
    remembers: remembered !== undefined,
    shapeChanged,
  });
  if (verdict === undefined) {
    const shared = sharedDiff(args);
    if (shared === undefined) return undefined;
    const decision = pruneByDiff({ ...args, diff: shared.diff });
    return { ...decision, reason: `${decision.reason} (as measured on ${shared.branch})` };
  }
  if (verdict.gate === 'max_continuous') config.semantics.onRunLimit(branch);
  if (verdict.diff !== null) recordDiff({ args, branch, diff: verdict.diff });
  return settle({ args, branch, decision: verdict });
}

/** The decision by the relative L1 change of the block's input since the block was last computed. */
export function pruneByDiff(args: PruneArgs & { diff: number }): Decision {
  const { state, config, diff } = args;
  const branch = branchState(state, state.current.branch);
  const decision = compare(diff, pruneThreshold(state, config));
  recordDiff({ args, branch, diff });
  return settle({ args, branch, decision });
}

/** Ends a call: counts its blocks, and whether its step was one that pruned. */
export function endPruneStep({ state, config, blocks }: Pick<PruneArgs, 'state' | 'config' | 'blocks'>): void {
  const { step } = state.current;
  const branch = branchState(state, state.current.branch);
  config.semantics.pruning.onCall(branch, step);
  branch.prunedBlocks.push(branch.pruned);
  branch.actualBlocks.push(blocks);
  branch.pruned = 0;
}

/**
 * R, or with `enableDynamicPruneThreshold` the mean of the step's first positive diffs times the relax ratio where that
 * lies between R and the cap.
 */
export function pruneThreshold(state: CacheState, { rule, semantics }: Resolved<DBPruneConfig>): number {
  const fixed = thresholdOf(rule);
  if (rule.kind !== 'prune' || rule.relaxed === null) return fixed;
  const branch = branchState(state, semantics.pruning.thresholdBranch(state.current.branch));
  const diffs = Object.values(branch.blockDiffs[state.current.step] ?? {});
  const positive = diffs.slice(0, THRESHOLD_BLOCKS).filter((diff) => diff > 0);
  if (positive.length === 0) return fixed;
  const mean = positive.reduce((total, diff) => total + diff, 0) / positive.length;
  const relaxed = mean * rule.relaxed.ratio;
  return relaxed < rule.relaxed.cap ? Math.max(relaxed, fixed) : fixed;
}

/** What another branch measured on this block in this step, where `cfgDiffComputeSeparate: false` shares it. */
function sharedDiff({ state, config, block }: PruneArgs): { branch: string; diff: number } | undefined {
  const { branch, step } = state.current;
  if (config.cfgDiffComputeSeparate || !config.semantics.takesSharedDiffs(branch)) return undefined;
  for (const [name, other] of Object.entries(state.branches)) {
    const diffs = other.blockDiffs[step];
    if (name === branch || diffs === undefined) continue;
    const diff = config.semantics.pruning.sharedDiff(diffs, block);
    if (diff !== undefined) return { branch: name, diff };
  }
  return undefined;
}

function recordDiff({ args, branch, diff }: { args: PruneArgs; branch: BranchState; diff: number }): void {
  const { step } = args.state.current;
  branch.blockDiffs[step] ??= {};
  branch.blockDiffs[step][args.block] = diff;
  const remembered = branch.blocks[args.block];
  if (remembered !== undefined && args.config.semantics.pruning.accumulates && diff > 0)
    remembered.accumulatedDiff += diff;
}

function settle({ args, branch, decision }: { args: PruneArgs; branch: BranchState; decision: Decision }): Decision {
  if (decision.action === 'compute') {
    branch.blocks[args.block] = { accumulatedDiff: 0 };
    return decision;
  }
  branch.pruned += 1;
  args.config.semantics.pruning.onBlock(branch, args.state.current.step);
  return decision;
}
