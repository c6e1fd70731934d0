/** The cache settings that command line flags stand for. */

import type { EnableCacheOptions } from '../../api/enable-cache.ts';
import type { CacheOptions } from '../../cache/config/cache-config.ts';
import type { CalibratorOptions } from '../../cache/config/calibrator-config.ts';
import { DejaDitError } from '../../errors/errors.ts';
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
 * What to call `enableCache` with; undefined without a cache and a config file.
 * @throws DejaDitError for flags that cannot take effect or contradict each other
 */
export async function cacheOptions(flags: CacheFlags): Promise<EnableCacheOptions | undefined> {
  // Reading YAML takes a library that most runs do without.
  const file =
    flags.config === undefined ? undefined : (await import('../../api/load-configs.ts')).loadConfigs(flags.config);
  if (!flags.cache && !file?.cacheConfig) {
    const idle = settings.find((name) => flags[name] !== undefined);
    if (idle !== undefined) throw refusal(idle, 'has no effect without --cache');
    if (file?.calibratorConfig)
      throw new DejaDitError('INVALID_CONFIG', 'calibrator_config does nothing without cache_config or --cache', {
        path: flags.config,
      });
    return file;
  }
  const calibrator = calibratorOptions(flags);
  const cacheConfig: CacheOptions = { ...file?.cacheConfig, ...cacheSettings(flags) };
  return { ...file, cacheConfig, ...(calibrator ? { calibratorConfig: calibrator } : {}) };
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

function refusal(name: string, reason: string): DejaDitError {
  const flag = name.replace(/[A-Z]/g, (letter, at: number) => (at === 0 ? letter : `-${letter.toLowerCase()}`));
  return new DejaDitError('INVALID_ARGUMENT', `--${flag} ${reason}`);
}
