/** What settings mean to us: limits count steps, nothing is re-used that does not fit, and a request knows its own steps. */
import { DejaDitError } from '../../errors/errors.ts';
import { computed, nothingToReuse, reused, reusedByThreshold } from './gates.ts';
import type { Resolved } from './resolved-config.ts';
import type { Semantics } from './semantics.ts';
import {
  type BeginStep,
  type CacheState,
  countCall,
  countReused,
  countSteps,
  type Refresh,
  restart,
  turn,
} from './state.ts';

export const ours: Semantics = {
  requestSteps: (told) => told,
  beginStep,
  canReuse: ({ remembers, shapeChanged }) => remembers && !shapeChanged,
  byStaticMask(input) {
    const { length } = input.config.stepsComputationMask!;
    // a list too short for the run says nothing about the rest: computing it is the safe reading
    if (input.step >= length) return computed('mask_compute', `beyond the ${length} steps of the mask`);
    return ours.canReuse(input) ? reused('mask_static', 'static mask') : computed('no_buffer', nothingToReuse(input));
  },
  byThresholdAlone: ({ threshold }) => (threshold >= 1 ? reusedByThreshold(threshold) : undefined),
  takesSharedDiffs: () => true,
  onRunLimit() {},
  onComputed(branch) {
    branch.continuousCachedSteps = 0;
    branch.accumulatedDiff = 0;
  },
  runIncrement: () => 1,
  pruning: {
    assertPattern() {},
    thresholdBranch: (current) => current,
    sharedDiff: (diffs, block) => diffs[block],
    accumulates: true,
    onBlock() {},
    onCall(branch, step) {
      if (branch.pruned > 0) countReused(branch, { step, increment: 1 });
      else branch.continuousCachedSteps = 0;
    },
  },
  overlap: false,
  encoderToTheEnd: false,
  taylorLag: 0,
};

function beginStep({ state, config, branch, step }: BeginStep): Refresh | undefined {
  const stepOf = (name: string) => {
    const latest = state.branches[name]?.step ?? -1;
    const next = step === undefined ? latest + 1 : step - state.offset;
    if (Number.isSafeInteger(next) && next > latest) return next;
    throw new DejaDitError('INVALID_ARGUMENT', `${step} does not follow step ${latest + state.offset} of "${name}"`, {
      path: 'step',
    });
  };
  let name = branch ?? turn(state, config);
  const next = stepOf(name);
  const refresh = dueRefresh({ state, config, next });
  if (refresh !== undefined) {
    restart(state, { config, refresh });
    state.offset = step ?? 0;
    name = branch ?? turn(state, config);
  }
  const current = stepOf(name);
  countSteps(state, Math.max(0, current + 1 - state.executedSteps));
  countCall(state, { branch: name, step: current });
  return refresh;
}

function dueRefresh(args: { state: CacheState; config: Resolved; next: number }): Refresh | undefined {
  const { state, config, next } = args;
  if (config.numInferenceSteps !== null && next >= config.numInferenceSteps) return 'num_inference_steps';
  const hint = config.forceRefreshStepHint;
  return hint !== null && next >= hint && !state.refreshedOnce ? 'force_refresh' : undefined;
}
