import { describe, expect, it } from 'vitest';
import { type CacheOptions, parseCacheConfig } from './cache-config.ts';
import { completeConfigs, DEFAULT_ERROR_BUDGET } from './defaults.ts';
import { measuringRule, type Rule, ruleOf } from './rule.ts';

const fast = { stepsComputationMask: 'fast', stepsComputationPolicy: 'static' } as const;

describe('ruleOf', () => {
  it.each<[CacheOptions, Rule]>([
    [{ cacheType: 'NONE' }, { kind: 'none' }],
    [{ cacheType: 'NONE', ...fast }, { kind: 'none' }],
    [{ residualDiffThreshold: 0.1 }, { kind: 'threshold', threshold: 0.1 }],
    [
      { residualDiffThreshold: 0.1, l1HiddenStatesDiffThreshold: 0.3 },
      { kind: 'threshold', threshold: 0.3 },
    ],
    [{ errorBudget: 0.05 }, { kind: 'error_budget', budget: 0.05 }],
    [
      { stepsComputationMask: 'fast', residualDiffThreshold: 0.1 },
      { kind: 'threshold', threshold: 0.1 },
    ],
    [fast, { kind: 'mask' }],
    [{ ...fast, residualDiffThreshold: 0.1 }, { kind: 'mask' }],
    [
      { stepsComputationPolicy: 'static', errorBudget: 0.05 },
      { kind: 'error_budget', budget: 0.05 },
    ],
    [{ cacheType: 'EasyCache' }, { kind: 'easy_cache', threshold: 0.05 }],
    [
      { cacheType: 'DBPrune', residualDiffThreshold: 0.1 },
      { kind: 'prune', threshold: 0.1, relaxed: null },
    ],
    [
      { cacheType: 'DBPrune', residualDiffThreshold: 0.1, enableDynamicPruneThreshold: true },
      { kind: 'prune', threshold: 0.1, relaxed: { ratio: 1.25, cap: 0.2 } },
    ],
  ])('%j', (options, rule) => {
    expect(ruleOf(parseCacheConfig(options))).toEqual(rule);
  });

  it('beside a static mask the threshold still names the cache', () => {
    expect(measuringRule(parseCacheConfig({ ...fast, residualDiffThreshold: 0.1 })).kind).toBe('threshold');
  });

  it.each([{ errorBudget: 0.05 }, { targetPsnr: 40 }])('a static mask leaves nothing to decide for %j', (budget) => {
    expect(() => parseCacheConfig({ ...fast, ...budget })).toThrow(
      `cacheConfig.${Object.keys(budget)[0]}: has no effect beside a static mask`,
    );
    expect(parseCacheConfig({ ...fast, ...budget, stepsComputationPolicy: 'dynamic' }).errorBudget).not.toBeNull();
  });
});

describe('who names no rule', () => {
  it.each<[CacheOptions, Rule['kind']]>([
    [{}, 'error_budget'],
    [{ Fn: 2, numInferenceSteps: 28, force_refresh_step_hint: 9 }, 'error_budget'],
    [{ max_warmup_steps: 4 }, 'threshold'],
    [{ residual_diff_threshold: null }, 'error_budget'],
    [{ steps_computation_mask: [1, 0] }, 'threshold'],
    [{ compat: 'cache-dit' }, 'threshold'],
  ])('%j is decided by %s', (cacheConfig, kind) => {
    const rule = ruleOf(completeConfigs({ cacheConfig }).cacheConfig);
    expect(rule.kind).toBe(kind);
    if (rule.kind === 'error_budget') expect(rule.budget).toBe(DEFAULT_ERROR_BUDGET);
  });
});
