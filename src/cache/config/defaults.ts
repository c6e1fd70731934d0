/** What a cache does where its user leaves the choice to us: the settings that measured best (docs/caching.md). */

import { isSpellingOf } from '../../errors/options.ts';
import { type CacheConfig, type CacheOptions, parseCacheConfig } from './cache-config.ts';
import { type CalibratorConfig, type CalibratorOptions, parseCalibratorConfig } from './calibrator-config.ts';

/** On the bundled model: half of the work, at 46 dB. */
export const DEFAULT_ERROR_BUDGET = 0.03;

/** Below this budget gaps are so short that extrapolation is as good as what the first blocks show. */
const SHORT_GAPS = 0.1;

/** Compensation pays where errors are kept small; across longer gaps (masks, thresholds) only the first blocks know what changed. */
const forecasterFor = ({ errorBudget }: CacheConfig): CalibratorOptions => ({
  type: errorBudget !== null && errorBudget < SHORT_GAPS ? 'compensated' : 'probe',
});

/** Whoever sets one of these wants another rule than the error budget, or has set it. */
const RULES = [
  'errorBudget',
  'targetPsnr',
  'residualDiffThreshold',
  'l1HiddenStatesDiffThreshold',
  'maxAccumulatedResidualDiffThreshold',
  'maxWarmupSteps',
  'warmupInterval',
  'stepsComputationMask',
  'compat',
];

/**
 * Both configs, checked and complete. Without a rule for the decision: the error budget. Without a forecaster: compensated
 * Taylor for a small budget, otherwise the probe's; `null` is plain re-use. In compat mode and for DBPrune nothing is added.
 */
export function completeConfigs(options: {
  cacheConfig?: CacheOptions | null | undefined;
  calibratorConfig?: CalibratorOptions | null | undefined;
}): { cacheConfig: CacheConfig; calibratorConfig: CalibratorConfig | null } {
  const plain = parseCacheConfig(options.cacheConfig ?? undefined);
  const ours = plain.cacheType === 'DBCache' && plain.compat === null;
  const ruled = Object.entries(options.cacheConfig ?? {}).some(
    ([key, value]) => value !== undefined && value !== null && isSpellingOf(key, RULES),
  );
  const cacheConfig =
    ours && !ruled ? parseCacheConfig({ ...options.cacheConfig, errorBudget: DEFAULT_ERROR_BUDGET }) : plain;
  const { calibratorConfig = ours ? forecasterFor(cacheConfig) : null } = options;
  return {
    cacheConfig,
    calibratorConfig: calibratorConfig === null ? null : parseCalibratorConfig(calibratorConfig),
  };
}
