/**
 * Which rule decides about a step, once warm-up and limits have had their say. It follows from several fields of a config; here it
 * is worked out, everything else asks for its `kind`.
 */
import type { CacheConfig } from './cache-config.ts';

export type Rule =
  /** Nothing is cached. */
  | { kind: 'none' }
  /** A static mask: a step is re-used where the mask has a 0, whatever has changed. */
  | { kind: 'mask' }
  /** The forecast's visible error, summed since the last computed step, must stay below the budget. */
  | { kind: 'error_budget'; budget: number }
  /** What the first blocks show must have changed by less than the threshold. */
  | { kind: 'threshold'; threshold: number }
  /** Every block for itself: its input must have changed by less than the threshold. */
  | { kind: 'prune'; threshold: number; relaxed: RelaxedThreshold | null }
  /** The whole call's output must have moved by less than the threshold since the last computed step. */
  | { kind: 'easy_cache'; threshold: number };

/** The mean diff of a step's first blocks times `ratio` takes the threshold's place where it lies between that and `cap`. */
export interface RelaxedThreshold {
  ratio: number;
  cap: number;
}

export function ruleOf(config: CacheConfig): Rule {
  const isStatic = config.stepsComputationMask !== null && config.stepsComputationPolicy === 'static';
  return config.cacheType !== 'NONE' && isStatic ? { kind: 'mask' } : measuringRule(config);
}

/** The rule by which a mask's zeros are decided where it is not static; its limit is part of a cache's name in any case. */
export function measuringRule(config: CacheConfig): Exclude<Rule, { kind: 'mask' }> {
  const { residualDiffThreshold: threshold, errorBudget } = config;
  switch (config.cacheType) {
    case 'NONE':
      return { kind: 'none' };
    case 'EasyCache':
      return { kind: 'easy_cache', threshold };
    case 'DBPrune':
      return { kind: 'prune', threshold, relaxed: relaxedThreshold(config) };
    case 'DBCache':
      if (errorBudget !== null) return { kind: 'error_budget', budget: errorBudget };
      return { kind: 'threshold', threshold: config.l1HiddenStatesDiffThreshold ?? threshold };
  }
}

function relaxedThreshold(config: CacheConfig): RelaxedThreshold | null {
  if (!('enableDynamicPruneThreshold' in config) || !config.enableDynamicPruneThreshold) return null;
  return {
    ratio: config.dynamicPruneThresholdRelaxRatio,
    cap: config.maxDynamicPruneThreshold ?? 2 * config.residualDiffThreshold,
  };
}

/** R of a rule that compares a diff with it; 0, at which nothing is re-used, of the others. */
export const thresholdOf = (rule: Rule): number => ('threshold' in rule ? rule.threshold : 0);

type Field = keyof CacheConfig;

/** What the error budget takes the place of. */
export const THRESHOLD_FIELDS = [
  'residualDiffThreshold',
  'maxAccumulatedResidualDiffThreshold',
  'l1HiddenStatesDiffThreshold',
  'importantConditionThreshold',
  'cfgDiffComputeSeparate',
] as const satisfies readonly Field[];

/** Whoever sets one of these wants another rule than ours, or another schedule than the one that goes with it. */
const NAMING_FIELDS = [
  'errorBudget',
  'targetPsnr',
  'residualDiffThreshold',
  'maxAccumulatedResidualDiffThreshold',
  'l1HiddenStatesDiffThreshold',
  'stepsComputationMask',
  'maxWarmupSteps',
  'warmupInterval',
] as const satisfies readonly Field[];

/** Whether somebody who gives these fields has chosen a rule. */
export const namesRule = (given: Partial<CacheConfig>): boolean =>
  NAMING_FIELDS.some((field) => given[field] !== undefined);
