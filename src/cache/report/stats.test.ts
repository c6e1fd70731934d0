import { describe, expect, it } from 'vitest';
import { type CacheOptions, type DBPruneConfig, parseCacheConfig } from '../config/cache-config.ts';
import { parseCalibratorConfig } from '../config/calibrator-config.ts';
import { endPruneStep, prePrune, pruneByDiff } from '../decide/dbprune.ts';
import { decideByDiff, preDecide } from '../decide/decide.ts';
import { type Resolved, resolveForSteps } from '../decide/resolved-config.ts';
import { beginStep, newCacheState } from '../decide/state.ts';
import { type Advice, advise } from './advise.ts';
import { buildStats, type CallRecord, diffStatistics, flopsShare, pruneCall } from './stats.ts';

function request(options: CacheOptions, diffs: readonly number[]) {
  const config = resolveForSteps(parseCacheConfig(options));
  const state = newCacheState();
  const calls = diffs.map((diff): CallRecord => {
    beginStep({ state, config });
    return { ...(preDecide({ state, config }) ?? decideByDiff({ state, config, diff })), ...state.current };
  });
  return { state, config, calls, calibratorConfig: null };
}

describe('buildStats', () => {
  const options = { Fn: 1, Bn: 1, residualDiffThreshold: 0.2, maxWarmupSteps: 2, enableSeparateCfg: true };
  const run = request(options, [0, 0, 0, 0, 0.1, 0.3, 0.2, 0.1]);

  it('reports both branches under cache-dit’s names, the calls and the shares', () => {
    const stats = buildStats({ ...run, blockCosts: [2, 3, 4, 1] });
    expect(stats).toMatchObject({
      cachedSteps: [2],
      cfgCachedSteps: [3],
      residualDiffs: { 2: 0.1, 3: 0.2 },
      cfgResidualDiffs: { 2: 0.3, 3: 0.1 },
      accumulatedCachedSteps: 1,
      cfgAccumulatedCachedSteps: 1,
      accumulatedExecutedSteps: 4,
      accumulatedTransformerExecutedSteps: 8,
      prunedRatio: null,
      computedShare: 6 / 8,
      flopsShare: (6 * 10 + 2 * 3) / 80,
    });
    expect(stats.calls.map(({ branch, step, action }) => `${branch} ${step} ${action}`).slice(4)).toEqual([
      'cond 2 reuse',
      'uncond 2 compute',
      'cond 3 compute',
      'uncond 3 reuse',
    ]);
    expect(stats.diffs).toMatchObject({ min: 0.1, max: 0.3 });
  });

  it('is a copy: what happens later does not change it', () => {
    const later = request(options, [0, 0, 0, 0, 0.1]);
    const stats = buildStats(later);
    beginStep(later);
    decideByDiff({ ...later, diff: 0.1 });
    expect(stats.cfgCachedSteps).toEqual([]);
    expect(stats.flopsShare).toBeNull();
  });

  it('of pruning: blocks, ratio and cost by block', () => {
    const config = resolveForSteps(
      parseCacheConfig({ cacheType: 'DBPrune', maxWarmupSteps: 1 }),
    ) as Resolved<DBPruneConfig>;
    const state = newCacheState();
    const calls = [
      [0, 0, 0, 0],
      [0, 0.1, 0.5, 0.2],
    ].map((diffs) => {
      beginStep({ state, config });
      const blocks = diffs.map((diff, block) => {
        const args = { state, config, block, blocks: 4 };
        return prePrune(args) ?? pruneByDiff({ ...args, diff });
      });
      endPruneStep({ state, config, blocks: 4 });
      return pruneCall(blocks, state.current);
    });
    const stats = buildStats({ state, config, calibratorConfig: null, calls, blockCosts: [1, 2, 3, 4] });
    expect(stats).toMatchObject({
      prunedSteps: [1],
      prunedBlocks: [0, 2],
      actualBlocks: [4, 4],
      prunedRatio: 0.25,
      residualDiffs: { 1: [0.1, 0.5, 0.2] },
      flopsShare: (10 + 4) / 20,
    });
    expect(stats.calls.map(({ action, reason }) => `${action}: ${reason}`)).toEqual([
      'compute: warm-up',
      'reuse: pruned 2 of 4 blocks',
    ]);
    expect(stats.calls[1]!.diff).toBeCloseTo(0.8 / 3, 12);
  });

  it('quantiles interpolate', () => {
    const p = diffStatistics([4, 1, 3, 2])!;
    expect([p.min, p.p25, p.p50, p.p75, p.max]).toEqual([1, 1.75, 2.5, 3.25, 4]);
    expect(p.p95).toBeCloseTo(3.85, 12);
    expect(diffStatistics([])).toBeNull();
  });

  it('a share without calls is not a number', () => {
    expect(flopsShare({ config: run.config, calls: [], blockCosts: [1] })).toBeNaN();
  });
});

describe('advise', () => {
  const messages = (advice: Advice[]) => advice.map(({ code, message }) => `${code}: ${message}`);
  const atEnable = (options: CacheOptions, facts: { steps?: number; blocks?: number } = {}) =>
    messages(advise({ config: parseCacheConfig(options), ...facts }));

  it('has nothing to say about the defaults on a usual run', () => {
    expect(atEnable({}, { steps: 28, blocks: 12 })).toEqual([]);
    expect(atEnable({ cacheType: 'NONE', residualDiffThreshold: 0 }, { steps: 4 })).toEqual([]);
  });

  it.each<[CacheOptions, { steps?: number; blocks?: number }, string[]]>([
    [{ maxWarmupSteps: 8 }, { steps: 8 }, ['never_by_steps: all 8 steps are computed: maxWarmupSteps 8; set it to 2']],
    [{}, { steps: 1 }, ['never_by_steps: a single step has none before it to re-use; disable the cache']],
    [
      { stepsComputationMask: [1, 1, 1, 1], residualDiffThreshold: 0.5 },
      { steps: 4 },
      ['never_by_steps: all 4 steps are computed: the steps mask has no 0; give a mask with zeros'],
    ],
    [
      { Fn: 4, Bn: 2 },
      { blocks: 6 },
      ['never_by_blocks: fnComputeBlocks 4 and bnComputeBlocks 2 leave none of the 6 blocks to skip; lower them'],
    ],
    [{ cacheType: 'DBPrune', nonPruneBlockIds: [2] }, { blocks: 3 }, []],
    [{ maxCachedSteps: 0 }, {}, ['never_by_limits: maxCachedSteps 0 never re-uses a step; set -1 for no limit']],
    [
      { residualDiffThreshold: 0 },
      {},
      ['never_by_limits: residualDiffThreshold 0 never re-uses a step; try 0.12 to 0.24'],
    ],
    [{ stepsComputationMask: 'fast', stepsComputationPolicy: 'static', maxCachedSteps: 0 }, { steps: 28 }, []],
  ])('%j with %j', (options, facts, expected) => {
    expect(atEnable(options, facts)).toEqual(expected);
  });

  it('sees a mask for another number of steps and one that max continuous cuts', () => {
    const [length] = atEnable({ stepsComputationMask: [1, 1, 0, 1], residualDiffThreshold: 0.5 }, { steps: 8 });
    expect(length).toMatch(/^mask_length: the steps mask has 4 entries for 8 steps/);
    expect(atEnable({ stepsComputationMask: 'ultra' }, { steps: 28 })).toEqual([
      "mask_cut: maxContinuousCachedSteps 3 cuts the mask's runs of up to 7 cached steps; set -1 to follow the mask",
    ]);
  });

  it('sees a few-step model, and the late Taylor of compat mode', () => {
    expect(atEnable({}, { steps: 4 })[0]).toMatch(/^few_steps: with 4 steps neighbours differ much/);
    expect(atEnable({ residualDiffThreshold: 0.5 }, { steps: 4 })).toEqual([]);
    const calibratorConfig = parseCalibratorConfig({ type: 'taylorseer' });
    const late = (maxWarmupSteps: number, compat?: 'cache-dit') =>
      advise({ config: parseCacheConfig({ maxWarmupSteps, compat }), calibratorConfig, steps: 28 }).map(
        ({ code }) => code,
      );
    expect([late(2, 'cache-dit'), late(4, 'cache-dit'), late(2)]).toEqual([['calibrator_late'], [], []]);
  });

  it('after a request that re-used nothing says what was observed and which threshold would do', () => {
    const far = request({ maxWarmupSteps: 2 }, [0, 0, 0.31, 0.4, 0.55, 0.6]);
    expect(messages(advise({ ...far, steps: 28 }))).toEqual([
      'never_observed: none of 6 calls re-used (2 by warmup, 4 by diff): the diffs lay between 0.31 and 0.6 and the threshold is 0.24; residualDiffThreshold 0.56 would let half of them pass',
    ]);
    const near = request({ maxWarmupSteps: 2 }, [0, 0, 0.1]);
    expect(advise({ ...near, steps: 28 })).toEqual([]);
  });
});
