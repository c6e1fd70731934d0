import { describe, expect, it } from 'vitest';
import { checkBlocks, resolveForSteps } from '../decide/resolved-config.ts';
import { cacheTag, calibratorTag, settingsTag } from '../report/tag.ts';
import { type CacheOptions, parseCacheConfig } from './cache-config.ts';
import { blockRange, cacheType } from './cache-type.ts';
import { mergeCalibrator, parseCalibratorConfig } from './calibrator-config.ts';
import { applyModifier } from './params-modifier.ts';

describe('defaults', () => {
  it('are one set: F1 B0, R 0.24, W 8 but at most a third of the steps, MC 3', () => {
    expect(parseCacheConfig()).toMatchObject({
      cacheType: 'DBCache',
      fnComputeBlocks: 1,
      bnComputeBlocks: 0,
      residualDiffThreshold: 0.24,
      maxCachedSteps: -1,
      maxContinuousCachedSteps: 3,
    });
    const warmup = (steps?: number) => resolveForSteps(parseCacheConfig(), steps).maxWarmupSteps;
    expect([undefined, 50, 28, 24, 20, 8, 4, 2].map(warmup)).toEqual([8, 8, 8, 8, 6, 2, 1, 1]);
  });

  it('of compat mode are those of the Python API, and an explicit warm-up is never clipped', () => {
    const compat = parseCacheConfig({ compat: 'cache-dit' });
    expect(compat).toMatchObject({ fnComputeBlocks: 8, residualDiffThreshold: 0.08, maxContinuousCachedSteps: -1 });
    expect(resolveForSteps(compat, 8).maxWarmupSteps).toBe(8);
    expect(resolveForSteps(parseCacheConfig({ maxWarmupSteps: 6 }), 8).maxWarmupSteps).toBe(6);
  });
});

describe('spellings', () => {
  it('short, camelCase and Python names are the same fields, and reading a config again changes nothing', () => {
    const spelled: CacheOptions[] = [
      { Fn: 2, Bn: 1, residualDiffThreshold: 0.12, enableSeparateCfg: true },
      { fnComputeBlocks: 2, bnComputeBlocks: 1, residualDiffThreshold: 0.12, enableSeparateCfg: true },
      { Fn_compute_blocks: 2, Bn_compute_blocks: 1, residual_diff_threshold: 0.12, enable_separate_cfg: true },
      { FnComputeBlocks: 2, BnComputeBlocks: 1, residual_diff_threshold: 0.12, enable_separate_cfg: true },
    ];
    const configs = spelled.map((options) => parseCacheConfig(options));
    for (const config of configs) expect(config).toEqual(configs[0]);
    expect(parseCacheConfig({ ...configs[0] })).toEqual(configs[0]);
    const prune = parseCacheConfig({ cache_type: 'dbprune', non_prune_block_ids: [3] });
    expect(prune).toMatchObject({ cacheType: 'DBPrune', nonPruneBlockIds: [3], dynamicPruneThresholdRelaxRatio: 1.25 });
    expect(parseCacheConfig({ ...prune })).toEqual(prune);
  });

  it('absent, undefined and null leave the default', () => {
    const options = { maxWarmupSteps: undefined, max_cached_steps: null, steps_computation_mask: null };
    expect(parseCacheConfig(options)).toEqual(parseCacheConfig());
  });
});

describe('errors name field and reason', () => {
  it.each([
    [{ enable_sperate_cfg: true }, 'cacheConfig: unknown key "enable_sperate_cfg"; did you mean enableSeparateCfg?'],
    [
      { fn: 1, Fn_compute_blocks: 2 },
      'cacheConfig.fnComputeBlocks: is given twice, the second time as Fn_compute_blocks',
    ],
    [{ Fn: 0 }, 'cacheConfig.fnComputeBlocks: must be an integer of at least 1, got 0'],
    [{ Bn: 1.5 }, 'cacheConfig.bnComputeBlocks: must be an integer of at least 0, got 1.5'],
    [{ residualDiffThreshold: '0.1' }, 'cacheConfig.residualDiffThreshold: must be a number, got "0.1"'],
    [{ residualDiffThreshold: Number.NaN }, 'cacheConfig.residualDiffThreshold: must be a number, got NaN'],
    [{ maxCachedSteps: -2 }, 'cacheConfig.maxCachedSteps: must be an integer of at least -1, got -2'],
    [{ warmupInterval: 0 }, 'cacheConfig.warmupInterval: must be an integer of at least 1'],
    [{ enableSeparateCfg: 'yes' }, 'cacheConfig.enableSeparateCfg: must be true or false, got "yes"'],
    [{ stepsComputationMask: [1, 2] }, 'cacheConfig.stepsComputationMask: must be a non-empty list of 0 and 1'],
    [
      { stepsComputationMask: 'quick' },
      'must be a non-empty list of 0 and 1, or one of slow, medium, fast, ultra, got "quick"',
    ],
    [{ stepsComputationPolicy: 'fixed' }, 'must be one of "dynamic", "static", got "fixed"'],
    [{ forceRefreshStepHint: 0 }, 'cacheConfig.forceRefreshStepHint: must be an integer of at least 1'],
    [{ compat: 'diffusers' }, 'cacheConfig.compat: must be "cache-dit", got "diffusers"'],
    [{ cacheType: 'DBCahce' }, 'cacheConfig.cacheType: unknown cache type "DBCahce"; did you mean DBCache?'],
    [{ nonPruneBlockIds: [1] }, 'cacheConfig: unknown key "nonPruneBlockIds"'],
    [
      { cacheType: 'DBPrune', nonPruneBlockIds: [-1] },
      'cacheConfig.nonPruneBlockIds[0]: must be an integer of at least 0, got -1',
    ],
  ])('%j', (options, message) => {
    expect(() => parseCacheConfig(options as CacheOptions)).toThrow(message);
  });

  it('compat mode refuses the unconditional branch first with diffs of its own, as cache-dit does', () => {
    const options = { Fn: 1, enableSeparateCfg: true, cfgComputeFirst: true };
    expect(() => parseCacheConfig({ ...options, compat: 'cache-dit' })).toThrow(
      'cacheConfig.cfgComputeFirst: must be false',
    );
    expect(() => parseCacheConfig({ ...options, compat: 'cache-dit', cfgDiffComputeSeparate: false })).not.toThrow();
    expect(() => parseCacheConfig(options)).not.toThrow();
  });
});

describe('checkBlocks', () => {
  const check = (options: CacheOptions, blocks: number) => () => checkBlocks(parseCacheConfig(options), { blocks });

  it('refuses more first or last blocks than there are, and an overlap', () => {
    expect(check({ compat: 'cache-dit' }, 6)).toThrow('cacheConfig.fnComputeBlocks: 8 is more than the 6 blocks');
    expect(check({ Bn: 7 }, 6)).toThrow('cacheConfig.bnComputeBlocks: 7 is more than the 6 blocks');
    expect(check({ Fn: 4, Bn: 3 }, 6)).toThrow('4 first and 3 last blocks overlap in a list of 6');
    expect(check({ Fn: 3, Bn: 3 }, 6)).not.toThrow();
  });

  it('refuses last blocks that would read what skipped first ones return', () => {
    const inU = (options: CacheOptions) => () => checkBlocks(parseCacheConfig(options), { blocks: 6, longSkips: true });
    expect(inU({ Fn: 1, Bn: 2 })).toThrow('bnComputeBlocks: 2, but the last blocks of this model read what as many');
    expect(inU({ cacheType: 'DBPrune' })).toThrow('cacheType: DBPrune may leave out blocks whose results');
    expect(inU({ Fn: 2, Bn: 2 })).not.toThrow();
  });

  it('lets compat mode run overlapping blocks twice, as cache-dit does', () => {
    expect(check({ Fn: 4, Bn: 3, compat: 'cache-dit' }, 6)).not.toThrow();
  });
});

describe('resolveForSteps', () => {
  it('spells out a mask policy for the steps of the request', () => {
    const config = parseCacheConfig({ stepsComputationMask: 'f' });
    expect(resolveForSteps(config, 8).stepsComputationMask?.join('')).toBe('11101001');
    expect(resolveForSteps({ ...config, numInferenceSteps: 4 }).stepsComputationMask?.join('')).toBe('1101');
    expect(() => resolveForSteps(config)).toThrow('stepsComputationMask: "fast" needs the number of steps');
  });
});

describe('calibrators', () => {
  it('fill in the defaults of their type', () => {
    const common = { enableCalibrator: true, enableEncoderCalibrator: true, calibratorCacheType: 'residual' };
    expect(parseCalibratorConfig({ type: 'taylorseer' })).toEqual({ type: 'taylorseer', order: 1, ...common });
    expect(parseCalibratorConfig({ calibrator_type: 'FoCa' })).toEqual({ type: 'foca', history: 10, ...common });
    expect(parseCalibratorConfig({ type: 'dmd', dmd_history: 5 })).toEqual({
      ...{ type: 'dmd', history: 5, rank: 0, ridge: 1e-8, svdPrecision: 'medium' },
      ...common,
    });
    expect(parseCalibratorConfig({ type: 'probe-taylor', order: 2 })).toEqual({
      ...{ type: 'probe', order: 2, snapshots: 3, lambda: 1e-2, gain: 1 },
      ...common,
    });
  });

  it.each([
    [{}, 'calibratorConfig.type: is required: one of taylorseer'],
    [{ type: 'taylorsear' }, 'calibratorConfig.type: unknown key "taylorsear"; did you mean taylorseer?'],
    [{ type: 'taylorseer', order: 9 }, 'calibratorConfig.order: must be an integer from 0 to 6, got 9'],
    [{ type: 'foca', order: 1 }, 'calibratorConfig: unknown key "order"'],
    [{ type: 'probe', order: 2, snapshots: 2 }, 'calibratorConfig.snapshots: order 2 needs 3, got 2'],
    [{ type: 'learned' }, 'calibratorConfig.coefficients: is required'],
  ])('%j', (options, message) => {
    expect(() => parseCalibratorConfig(options)).toThrow(message);
  });

  it('merge field by field, and start afresh with another type', () => {
    const base = parseCalibratorConfig({ type: 'taylorseer', order: 2, enableEncoderCalibrator: false });
    const merged = mergeCalibrator(base, { options: { calibrator_cache_type: 'hidden_states' }, path: 'x' });
    expect(merged).toEqual({ ...base, calibratorCacheType: 'hidden_states' });
    expect(mergeCalibrator(base, { options: { type: 'foca' }, path: 'x' })).toEqual(
      parseCalibratorConfig({ type: 'foca' }),
    );
  });
});

describe('modifiers', () => {
  const base = {
    cacheConfig: parseCacheConfig({ Fn: 2 }),
    calibratorConfig: parseCalibratorConfig({ type: 'taylorseer' }),
  };

  it('change only the given fields, either part without the other', () => {
    expect(applyModifier(base, { cacheConfig: { max_warmup_steps: 2, residualDiffThreshold: 0.5 } })).toEqual({
      cacheConfig: { ...base.cacheConfig, maxWarmupSteps: 2, residualDiffThreshold: 0.5 },
      calibratorConfig: base.calibratorConfig,
    });
    expect(applyModifier(base, { calibratorConfig: { taylorseer_order: 2 } })).toEqual({
      cacheConfig: base.cacheConfig,
      calibratorConfig: { ...base.calibratorConfig, order: 2 },
    });
  });

  it('are checked like configs', () => {
    expect(() => applyModifier(base, { cacheConfig: { Fn: 0 } })).toThrow(
      'paramsModifiers.cacheConfig.fnComputeBlocks',
    );
    expect(() => applyModifier(base, { cacheConfig: { cacheType: 'DBPrune' } })).toThrow(
      'paramsModifiers.cacheConfig.cacheType: a modifier cannot make a DBCache a DBPrune',
    );
    const typo = { cache: {} } as object;
    expect(() => applyModifier(base, typo)).toThrow('paramsModifiers: unknown key "cache"');
  });
});

describe('cacheType and blockRange', () => {
  it('know the aliases in any case', () => {
    expect(
      ['db', 'DB_Cache', 'dual_block_cache', 'DBP', 'dynamic_block_prune', 'NC', 'None', null].map((name) =>
        cacheType(name),
      ),
    ).toEqual(['DBCache', 'DBCache', 'DBCache', 'DBPrune', 'DBPrune', 'NONE', 'NONE', 'NONE']);
    expect(() => cacheType('turbo')).toThrow('unknown cache type "turbo"; known: DBCache, DBPrune, EasyCache, NONE');
  });

  it('ranges hold the first and the last block', () => {
    expect(blockRange(0, 10, 2)).toEqual([0, 2, 4, 6, 8, 9]);
    expect(blockRange(3, 6)).toEqual([0, 3, 4, 5]);
    expect([blockRange(5, 4), blockRange(0, 0)]).toEqual([[], []]);
    expect(() => blockRange(0, 10, 0)).toThrow('step >= 1');
  });
});

describe('tags', () => {
  const compat = (options: CacheOptions) => cacheTag(parseCacheConfig({ ...options, compat: 'cache-dit' }));

  it('equal cache-dit’s', () => {
    expect(compat({})).toBe('DBCache_F8B0_W8I1M0MC0_R0.08');
    expect(compat({ Fn: 1, residualDiffThreshold: 0.12, maxContinuousCachedSteps: 3 })).toBe(
      'DBCache_F1B0_W8I1M0MC3_R0.12',
    );
    const many = {
      ...{ warmupInterval: 2, maxCachedSteps: 5, maxContinuousCachedSteps: 2, stepsComputationMask: [1, 0, 1] },
      ...{ numInferenceSteps: 28, forceRefreshStepHint: 4, enableSeparateCfg: true },
    };
    expect(compat(many)).toBe('DBCache_F8B0_W8I2M5MC2_R0.08_SCM101_dynamic_N28_FR4_once_CFG1');
    expect(compat({ cacheType: 'DBPrune' })).toBe('DBPrune_F8B0_W8I1M0MC0_R0.08');
    expect([1, 0, 0.00005].map((residualDiffThreshold) => compat({ residualDiffThreshold }).split('_R')[1])).toEqual([
      '1.0',
      '0.0',
      '5e-05',
    ]);
  });

  it('of calibrators too', () => {
    const tags = [
      { type: 'taylorseer' },
      { type: 'taylorseer', order: 0 },
      { type: 'foca' },
      { type: 'dmd', svdPrecision: 'low' as const },
      { type: 'probe', order: 2 },
    ].map((options) => calibratorTag(parseCalibratorConfig(options)));
    expect([calibratorTag(null), ...tags]).toEqual(['T0O0', 'T1O1', 'NONE', 'FoCa', 'DMDH6l', 'ProbeO2S3']);
    expect(calibratorTag(parseCalibratorConfig({ type: 'taylorseer' }), { details: true })).toBe('TaylorSeer_O(1)');
  });

  it('of everything together', () => {
    const cacheConfig = parseCacheConfig({ maxWarmupSteps: 4, enableSeparateCfg: false });
    const calibratorConfig = parseCalibratorConfig({ type: 'taylorseer' });
    expect(settingsTag({ cacheConfig, calibratorConfig, accumulatedCachedSteps: 2 })).toBe(
      'DBCache_F1B0_W4I1M0MC3_R0.24_CFG0_T1O1_S2',
    );
    const prune = parseCacheConfig({ cacheType: 'DBPrune', maxContinuousCachedSteps: -1 });
    expect(settingsTag({ cacheConfig: prune, prunedRatio: 0.38241, parallelism: 'Ulysses2' })).toBe(
      'DBPrune_F1B0_W8I1M0MC0_R0.24_P38.24_T0O0_Ulysses2',
    );
    expect(settingsTag({ cacheConfig: parseCacheConfig({ cacheType: 'none' }), quantize: 'int8' })).toBe('int8');
    expect(settingsTag({})).toBe('');
  });
});
