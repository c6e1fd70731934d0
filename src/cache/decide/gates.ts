/**
 * The gates that a step, or with DBPrune a block, passes before its diff is looked at, in cache-dit's order: warm-up, mask, max
 * cached, max continuous, accumulated diff, threshold off, nothing to re-use. Nothing is counted here.
 */
import type { Resolved } from './resolved-config.ts';

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
  /** With an error budget: the visible errors since the last computed step, this one's included, weighted; what `threshold` bounds. */
  visibleError?: number;
}

export interface GateInput {
  config: Resolved;
  step: number;
  /** The rule's, or what it has been relaxed to. */
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

/** Undefined if all gates let the diff decide. */
export function gatesBeforeDiff(input: GateInput): Decision | undefined {
  const { config, step, threshold } = input;
  const { rule, semantics } = config;

  if (inWarmup(config, step)) return computed('warmup', 'warm-up');
  if (config.stepsComputationMask?.[step] === 1) return computed('mask_compute', 'mask');
  if (rule.kind === 'mask') return semantics.byStaticMask(input);

  const { maxCachedSteps, maxContinuousCachedSteps, maxAccumulatedResidualDiffThreshold: limit } = config;
  if (maxCachedSteps >= 0 && input.cached >= maxCachedSteps) {
    return computed('max_cached_steps', `max cached ${maxCachedSteps}`);
  }
  if (maxContinuousCachedSteps >= 0 && input.continuous >= maxContinuousCachedSteps) {
    return computed('max_continuous', `max continuous ${maxContinuousCachedSteps}`);
  }
  if (limit !== null && limit > 0 && input.accumulated >= limit) {
    return computed('accumulated', `accumulated ${rounded(input.accumulated)} ≥ ${rounded(limit)}`);
  }
  if (rule.kind !== 'error_budget' && threshold <= 0) {
    return computed('threshold_off', `threshold ${rounded(threshold)}: never re-use`);
  }
  if (!semantics.canReuse(input)) return computed('no_buffer', nothingToReuse(input));
  return rule.kind === 'error_budget' ? undefined : semantics.byThresholdAlone(input);
}

/** With a mask the warm-up ends where the mask's leading run of ones does. */
function inWarmup(config: Resolved, step: number): boolean {
  const mask = config.stepsComputationMask ?? [];
  const leading = mask.indexOf(0) === -1 ? mask.length : mask.indexOf(0);
  const end = config.stepsComputationMask === null ? config.maxWarmupSteps : Math.min(config.maxWarmupSteps, leading);
  return step < end && step % config.warmupInterval === 0;
}

/** The decision by a diff. NaN (nothing remembered but zeros) computes. */
export const compare = (diff: number, threshold: number): Decision => ({
  action: diff < threshold ? 'reuse' : 'compute',
  gate: 'diff',
  reason: `threshold ${rounded(diff)} ${diff < threshold ? '<' : '≥'} ${rounded(threshold)}`,
  diff,
  threshold,
});

export const computed = (gate: Gate, reason: string): Decision => ({
  action: 'compute',
  gate,
  reason,
  diff: null,
  threshold: null,
});

export const reused = (gate: Gate, reason: string): Decision => ({ ...computed(gate, reason), action: 'reuse' });

/** A threshold of 1 or more re-uses without looking. */
export const reusedByThreshold = (threshold: number): Decision => ({
  ...reused('diff', `threshold ${rounded(threshold)}: always re-use`),
  threshold,
});

export const nothingToReuse = ({ remembers }: GateInput): string =>
  remembers ? 'the shape changed' : 'nothing computed yet';

/** A number as reasons show it. */
export const rounded = (value: number): string => String(Number(value.toPrecision(3)));
