/** What a cache does where its user leaves the choice to us: the settings that measured best (docs/caching.md). */

import { type CacheConfig, type CacheOptions, parseCacheConfig, readCache } from './cache-config.ts';
import { type CalibratorConfig, type CalibratorOptions, parseCalibratorConfig } from './calibrator-config.ts';
import { measuringRule, namesRule, type Rule } from './rule.ts';

/** On the bundled model: half of the work, at 46 dB. */
export const DEFAULT_ERROR_BUDGET = 0.03;

/** Below this budget gaps are so short that extrapolation is as good as what the first blocks show. */
const SHORT_GAPS = 0.1;

/** Compensation pays where errors are kept small; across longer gaps (masks, thresholds) only the first blocks know what changed. */
const forecasterFor = (rule: Rule): CalibratorOptions => ({
  type: rule.kind === 'error_budget' && rule.budget < SHORT_GAPS ? 'compensated' : 'probe',
});

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
  const given = readCache({ options: options.cacheConfig ?? {}, type: plain.cacheType, path: 'cacheConfig' });
  const cacheConfig =
    ours && !namesRule(given) ? parseCacheConfig({ ...given, errorBudget: DEFAULT_ERROR_BUDGET }) : plain;
  const { calibratorConfig = ours ? forecasterFor(measuringRule(cacheConfig)) : null } = options;
  return {
    cacheConfig,
    calibratorConfig: calibratorConfig === null ? null : parseCalibratorConfig(calibratorConfig),
  };
}
