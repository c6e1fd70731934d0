/** The cache settings that command line flags stand for. */
import type { CalibratorOptions } from '../cache/calibrator-config.ts';
import type { CacheOptions } from '../cache/config.ts';
import type { EnableCacheOptions } from '../cache/enable-cache.ts';
import { loadConfigs } from '../cache/load-configs.ts';
import { DejaDitError } from '../errors/errors.ts';
import type { CacheFlags } from './cache-flags.ts';

/** Flags that only mean something with `--cache`, by their attribute names. */
const settings = [
  'errorBudget',
  'targetPsnr',
  'FnComputeBlocks',
  'BnComputeBlocks',
  'residualDiffThreshold',
  'maxWarmupSteps',
  'warmupInterval',
  'maxCachedSteps',
  'maxContinuousCachedSteps',
  'maskPolicy',
  'scmPolicy',
  'taylorseer',
  'taylorseerOrder',
  'foca',
  'dmd',
  'probe',
  'compat',
] as const satisfies readonly (keyof CacheFlags)[];

/**
 * What to call `enableCache` with; undefined without a cache.
 * @throws DejaDitError for flags that cannot take effect or contradict each other
 */
export function cacheOptions(flags: CacheFlags): EnableCacheOptions | undefined {
  const given = settings.filter((name) => flags[name] !== undefined);
  if (!flags.cache && !flags.config) {
    if (given.length > 0) throw refusal(given[0]!, 'has no effect without --cache');
    return undefined;
  }
  const calibrator = calibratorOptions(flags);
  const base = flags.config === undefined ? {} : configFile(flags.config);
  const cacheConfig: CacheOptions = { ...base.cacheConfig, ...cacheSettings(flags) };
  return { ...base, cacheConfig, ...(calibrator ? { calibratorConfig: calibrator } : {}) };
}

function cacheSettings(flags: CacheFlags): CacheOptions {
  const options: CacheOptions = {
    errorBudget: flags.errorBudget,
    targetPsnr: flags.targetPsnr,
    fnComputeBlocks: flags.FnComputeBlocks,
    bnComputeBlocks: flags.BnComputeBlocks,
    residualDiffThreshold: flags.residualDiffThreshold,
    maxWarmupSteps: flags.maxWarmupSteps,
    warmupInterval: flags.warmupInterval,
    maxCachedSteps: flags.maxCachedSteps,
    maxContinuousCachedSteps: flags.maxContinuousCachedSteps,
    stepsComputationMask: flags.maskPolicy,
    stepsComputationPolicy: flags.scmPolicy as 'dynamic' | 'static' | undefined,
    compat: flags.compat ? 'cache-dit' : undefined,
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function calibratorOptions(flags: CacheFlags): CalibratorOptions | undefined {
  const named = (['taylorseer', 'foca', 'dmd', 'probe'] as const).filter((name) => flags[name]);
  if (named.length > 1) throw refusal(named[1]!, `excludes --${named[0]}`);
  if (flags.taylorseerOrder !== undefined && named[0] !== 'taylorseer')
    throw refusal('taylorseerOrder', 'has no effect without --taylorseer');
  const [type] = named;
  return type && { type, ...(flags.taylorseerOrder === undefined ? {} : { order: flags.taylorseerOrder }) };
}

function configFile(file: string): EnableCacheOptions {
  const { cacheConfig, calibratorConfig } = loadConfigs(file);
  if (!cacheConfig) throw new DejaDitError('INVALID_CONFIG', 'has no cache settings', { path: file });
  return {
    cacheConfig: cacheConfig as CacheOptions,
    ...(calibratorConfig ? { calibratorConfig: calibratorConfig as CalibratorOptions } : {}),
  };
}

function refusal(name: string, reason: string): DejaDitError {
  const flag = name.replace(/[A-Z]/g, (letter, at: number) => (at === 0 ? letter : `-${letter.toLowerCase()}`));
  return new DejaDitError('INVALID_ARGUMENT', `--${flag} ${reason}`);
}
