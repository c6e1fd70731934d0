/** The error budget: what it counts, when it is full, and what arms it again. */
import { describe, expect, it } from 'vitest';
import { type CacheOptions, parseCacheConfig } from '../config/cache-config.ts';
import { completeConfigs, DEFAULT_ERROR_BUDGET } from '../config/defaults.ts';
import { applyModifier } from '../config/params-modifier.ts';
import { budgetForPsnr } from '../config/target-psnr.ts';
import { advise } from '../report/advise.ts';
import { decideByDiff, preDecide } from './decide.ts';
import { importance, visibleError } from './error-budget.ts';
import { resolveForSteps } from './resolved-config.ts';
import { beginStep, newCacheState } from './state.ts';

describe('importance', () => {
  it('falls from 1 to 0 like a parabola, and is 1 where the steps are not known', () => {
    expect([0, 14, 27].map((step) => importance(step, 28))).toEqual([1, 0.75, 1 - (27 / 28) ** 2]);
    expect(importance(20, null)).toBe(1);
  });
});

describe('visibleError', () => {
  /** Gram of the newest, the older's difference and the present one's difference. */
  const gramOf = (older: number[], newest: number[], present: number[]) => {
    const rows = [newest, ...[older, present].map((x) => x.map((value, i) => value - newest[i]!))];
    return rows.map((a) => rows.map((b) => a.reduce((total, value, i) => total + value * b[i]!, 0)));
  };

  it('is the distance from the straight line, relative', () => {
    // On the line (0,1), (2,1) the next point, two steps on, is (6,1).
    const probe = gramOf([0, 1], [2, 1], [6, 4]);
    expect(visibleError({ positions: [3, 2], first: 0, target: 5, probe })).toBeCloseTo(3 / Math.hypot(6, 4), 12);
    expect(visibleError({ positions: [3, 2], first: 0, target: 5, probe: gramOf([0, 1], [2, 1], [6, 1]) })).toBeCloseTo(
      0,
      6,
    );
  });

  it('is plain movement while there is one remembered step', () => {
    const probe = [
      [4, 2],
      [2, 1],
    ];
    expect(visibleError({ positions: [0], first: 0, target: 1, probe })).toBeCloseTo(1 / 3, 12);
  });
});

describe('decisions by error', () => {
  it('add up weighted errors since the last computed step, which arms the budget again', () => {
    const config = resolveForSteps(parseCacheConfig({ errorBudget: 0.1, numInferenceSteps: 10 }));
    const state = newCacheState();
    const decisions = Array.from({ length: 8 }, () => {
      beginStep({ state, config });
      return (preDecide({ state, config }) ?? decideByDiff({ state, config, diff: 0.04 })).action;
    });
    // 0.04·(0.99 + 0.96) < 0.1 ≤ 0.04·(0.99 + 0.96 + 0.91); from step 4: 0.75 + 0.64 + 0.51 still fit.
    expect(decisions).toEqual(
      ['compute', 'reuse', 'reuse', 'compute', 'reuse', 'reuse', 'reuse', 'compute'].slice(0, 8),
    );
  });

  it('take one decision for all branches of a step', () => {
    const config = resolveForSteps(
      parseCacheConfig({ errorBudget: 0.1, numInferenceSteps: 10, enableSeparateCfg: true }),
    );
    const state = newCacheState();
    const actions: string[] = [];
    for (const diff of [0, 0.05, 0.2]) {
      beginStep({ state, config, branch: 'cond' });
      actions.push((preDecide({ state, config }) ?? decideByDiff({ state, config, diff })).action);
      beginStep({ state, config, branch: 'uncond' });
      const second = preDecide({ state, config })!;
      expect(second.gate).toBe(actions.length === 1 ? 'warmup' : 'same_step');
      expect(second.action).toBe(actions.at(-1));
    }
    expect(actions).toEqual(['compute', 'reuse', 'compute']);
  });
});

describe('advice', () => {
  const about = (options: CacheOptions, facts: object) => advise({ config: parseCacheConfig(options), ...facts });

  it('has nothing to say about a budget on long or short runs, and warns of an empty one', () => {
    expect(about({ errorBudget: 0.03 }, { steps: 28, blocks: 12 })).toEqual([]);
    expect(about({ errorBudget: 0.03 }, { steps: 4 })).toEqual([]);
    expect(about({ errorBudget: 0 }, {})[0]?.message).toContain('errorBudget 0 never re-uses a step');
  });

  it('names the errors that were seen where none fitted the budget', () => {
    const call = {
      step: 1,
      branch: 'cond',
      action: 'compute',
      gate: 'error_budget',
      reason: '-',
      threshold: 0.01,
    } as const;
    const calls = [0.2, 0.3, 0.4].map((diff) => ({ ...call, diff }));
    expect(about({ errorBudget: 0.01 }, { calls })[0]?.message).toContain(
      'the visible errors lay between 0.2 and 0.4 and the budget is 0.01; errorBudget 0.31 would let half of them pass',
    );
  });
});

describe('settings', () => {
  it('targetPsnr stands for a budget: the higher, the smaller', () => {
    const budgets = [30, 36, 41, 46, 55].map(budgetForPsnr);
    expect(budgets).toEqual([...budgets].sort((a, b) => b - a));
    expect(parseCacheConfig({ targetPsnr: 41 }).errorBudget).toBeCloseTo(budgetForPsnr(41), 12);
  });

  it.each([
    [{ errorBudget: 0.1, compat: 'cache-dit' }, 'cacheConfig.errorBudget'],
    [{ targetPsnr: 30, cacheType: 'DBPrune' }, 'cacheConfig.targetPsnr'],
    [{ errorBudget: 0.03, residualDiffThreshold: 0.1 }, 'cacheConfig.residualDiffThreshold'],
  ])('%j is refused', (options, message) => {
    expect(() => parseCacheConfig(options as never)).toThrow(message);
  });

  it('a threshold for one block list is refused where the budget decides', () => {
    const base = completeConfigs({});
    expect(() => applyModifier(base, { cacheConfig: { residualDiffThreshold: 0.1 } })).toThrow(
      'paramsModifiers.cacheConfig.residualDiffThreshold',
    );
    expect(applyModifier(base, { cacheConfig: { errorBudget: 0.05 } }).cacheConfig.errorBudget).toBe(0.05);
  });

  it('are ours where the user has none, and the rule of whoever names one', () => {
    const { cacheConfig, calibratorConfig } = completeConfigs({ cacheConfig: { Fn: 2 } });
    expect(cacheConfig).toMatchObject({ errorBudget: DEFAULT_ERROR_BUDGET, fnComputeBlocks: 2, maxWarmupSteps: 1 });
    expect(calibratorConfig?.type).toBe('compensated');
    expect(
      completeConfigs({ cacheConfig: { residual_diff_threshold: 0.1 } as never }).cacheConfig.errorBudget,
    ).toBeNull();
    for (const cacheConfig of [{ errorBudget: 0.12 }, { stepsComputationMask: 'fast' }, { maxWarmupSteps: 4 }]) {
      expect(completeConfigs({ cacheConfig }).calibratorConfig?.type).toBe('probe');
    }
    expect(completeConfigs({ cacheConfig: { compat: 'cache-dit' } }).calibratorConfig).toBeNull();
    expect(completeConfigs({ calibratorConfig: null }).calibratorConfig).toBeNull();
  });
});
