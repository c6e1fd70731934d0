/** What settings mean to cache-dit 1.3.5, its known defects included. `compat: 'cache-dit'` replays its decisions call by call. */
import { DejaDitError } from '../../errors/errors.ts';
import { computed, type GateInput, nothingToReuse, reused, reusedByThreshold } from './gates.ts';
import type { Resolved } from './resolved-config.ts';
import type { Semantics } from './semantics.ts';
import {
  type BeginStep,
  type BranchState,
  type CacheState,
  COND,
  countCall,
  countReused,
  countSteps,
  type Refresh,
  restart,
  turn,
  UNCOND,
} from './state.ts';

/** Its entries in the list of diffs for "always similar" and "another shape". */
const ALWAYS = -1;
const OTHER_SHAPE = -2;

/** The first pattern whose blocks it cannot prune. */
const UNPRUNABLE_PATTERN = 3;

export const cacheDit: Semantics = {
  // it is not told a pipeline's steps
  requestSteps: () => null,
  beginStep,
  // it looks at the shape when it compares, not before
  canReuse: ({ remembers }) => remembers,
  byStaticMask(input) {
    assertReusable(input, 'stepsComputationMask');
    return reused('mask_static', 'static mask');
  },
  byThresholdAlone(input) {
    const { threshold, shapeChanged, config } = input;
    if (threshold >= 1) {
      assertReusable(input, config.stepsComputationMask === null ? 'residualDiffThreshold' : 'stepsComputationMask');
      return { ...reusedByThreshold(threshold), diff: ALWAYS };
    }
    if (shapeChanged) return { ...computed('diff', 'the shape changed'), diff: OTHER_SHAPE, threshold };
    return undefined;
  },
  // only the unconditional branch takes over the conditional one's, so with `cfgComputeFirst` nothing is ever shared
  takesSharedDiffs: (branch) => branch !== COND,
  onRunLimit(branch) {
    branch.continuousCachedSteps = 0;
  },
  // neither a run of re-used steps nor the accumulated diff ends with a computed one
  onComputed() {},
  runIncrement,
  pruning: {
    assertPattern(pattern) {
      if (pattern < UNPRUNABLE_PATTERN) return;
      throw new DejaDitError('UNSUPPORTED', `cache-dit cannot prune blocks of pattern ${pattern}; leave out compat`, {
        path: 'cacheConfig.cacheType',
      });
    },
    thresholdBranch: () => COND,
    sharedDiff() {
      throw new DejaDitError(
        'UNSUPPORTED',
        'cache-dit cannot share diffs between branches when pruning; leave out compat',
        { path: 'cacheConfig.cfgDiffComputeSeparate' },
      );
    },
    // so that its accumulated limit never fires
    accumulates: false,
    // a step is counted when its first block is pruned, so that limits strike in the middle of a step
    onBlock(branch, step) {
      if (branch.cachedSteps.includes(step)) return;
      countReused(branch, { step, increment: runIncrement(branch, step) });
    },
    onCall() {},
  },
  // blocks that both ranges hold run twice, and give another picture
  overlap: true,
  encoderToTheEnd: true,
  // its own step counter starts one late and waits for a value above 1: no difference before the 4th step
  taylorLag: 2,
};

/** It re-uses without looking whether it can, and raises. */
function assertReusable(input: GateInput, field: string): void {
  if (input.remembers && !input.shapeChanged) return;
  throw new DejaDitError(
    input.remembers ? 'SHAPE_MISMATCH' : 'INVALID_CONFIG',
    `step ${input.step} must re-use, but ${nothingToReuse(input)} (without compat mode it is computed)`,
    { path: `cacheConfig.${field}` },
  );
}

/**
 * Only the limit itself ends a run, one after a computed step goes on with the old count, and after the limit the count starts with
 * the second step of a run (so that MC 1 acts like MC 2 from then on).
 */
function runIncrement({ cachedSteps, continuousCachedSteps }: BranchState, step: number): number {
  const previous = cachedSteps.at(-1);
  if (previous === undefined) return 1;
  if (step - previous !== 1) return 0;
  return continuousCachedSteps === 0 ? 2 : 1;
}

/**
 * It looks at the counters of the call before, so that the first call of a second request still runs in the old context; calls of the
 * branches are told apart by turns alone; the hint counts calls.
 */
function beginStep({ state, config }: BeginStep): Refresh | undefined {
  const refresh = lateRefresh(state, config);
  if (refresh !== undefined) restart(state, { config, refresh });
  const branch = turn(state, config);
  // a step begins with the first of its two calls
  if (!config.enableSeparateCfg || (branch === UNCOND) === config.cfgComputeFirst) countSteps(state, 1);
  countCall(state, { branch, step: state.executedSteps - 1 });
  return refresh;
}

function lateRefresh(state: CacheState, config: Resolved): Refresh | undefined {
  const { numInferenceSteps, forceRefreshStepHint } = config;
  if (numInferenceSteps !== null && state.executedSteps - 1 >= numInferenceSteps) return 'num_inference_steps';
  const due = state.transformerExecutedSteps === forceRefreshStepHint && !state.refreshedOnce;
  return due ? 'force_refresh' : undefined;
}
