/** Short names of settings, equal to cache-dit's: for file names, tables and summaries. */

import { type CacheConfig, isPrune } from '../config/cache-config.ts';
import type { CalibratorConfig } from '../config/calibrator-config.ts';
import { measuringRule } from '../config/rule.ts';
import { resolveForSteps } from '../decide/resolved-config.ts';

/** `DBCache_F1B0_W8I1M0MC3_R0.24_...`. No limit is written 0, as cache-dit does: `M0MC0` is unlimited. */
export function cacheTag(config: CacheConfig): string {
  if (config.cacheType === 'NONE') return '';
  const { maxWarmupSteps, stepsComputationMask } = config;
  const rule = measuringRule(config);
  const limit = (value: number) => Math.max(0, value);
  let tag =
    config.cacheType +
    (config.cacheType === 'EasyCache' ? '' : `_F${config.fnComputeBlocks}B${config.bnComputeBlocks}`) +
    `_W${maxWarmupSteps ?? resolveForSteps({ ...config, stepsComputationMask: null }).maxWarmupSteps}` +
    `I${config.warmupInterval}M${limit(config.maxCachedSteps)}MC${limit(config.maxContinuousCachedSteps)}` +
    (rule.kind === 'error_budget'
      ? `_E${Number(rule.budget.toPrecision(3))}`
      : `_R${pythonFloat(config.residualDiffThreshold)}`);
  if (isPrune(config)) return tag;
  if (stepsComputationMask !== null) {
    const mask = typeof stepsComputationMask === 'string' ? stepsComputationMask : stepsComputationMask.join('');
    tag += `_SCM${mask}_${config.stepsComputationPolicy}`;
  }
  if (config.numInferenceSteps !== null) tag += `_N${config.numInferenceSteps}`;
  if (config.forceRefreshStepHint !== null) tag += `_FR${config.forceRefreshStepHint}_${config.forceRefreshStepPolicy}`;
  if (config.enableSeparateCfg !== null) tag += `_CFG${Number(config.enableSeparateCfg)}`;
  return tag;
}

/** `T1O2`, `FoCa`, `DMDH6`, ...; without calibrator `T0O0`. With `details`: as a sentence would name it. */
export function calibratorTag(config: CalibratorConfig | null, { details = false } = {}): string {
  switch (config?.type) {
    case undefined:
      return 'T0O0';
    case 'taylorseer':
      if (config.order === 0) return 'NONE';
      return details ? `TaylorSeer_O(${config.order})` : `T1O${config.order}`;
    case 'foca':
      return 'FoCa';
    case 'dmd':
      return `DMDH${config.history}${{ low: 'l', medium: '', high: 'h' }[config.svdPrecision]}`;
    case 'probe':
      return `ProbeO${config.order}S${config.snapshots}`;
    case 'compensated':
      return `CompensatedO${config.order}`;
    case 'learned':
      return `Learned${config.coefficients.numInferenceSteps}`;
  }
}

export interface TagParts {
  cacheConfig?: CacheConfig | null;
  calibratorConfig?: CalibratorConfig | null;
  /** Tags of the other sections. */
  parallelism?: string;
  quantize?: string;
  /** Re-used steps of a run that is over. */
  accumulatedCachedSteps?: number;
  /** Share of pruned blocks of a run that is over, 0 to 1. */
  prunedRatio?: number | null;
}

/** All settings in one name: cache, calibrator, parallelism, quantisation, re-used steps. Empty if there are none. */
export function settingsTag(parts: TagParts): string {
  const { cacheConfig, calibratorConfig = null, accumulatedCachedSteps, prunedRatio } = parts;
  const tags: string[] = [];
  if (cacheConfig && cacheConfig.cacheType !== 'NONE') {
    tags.push(cacheTag(cacheConfig));
    if (isPrune(cacheConfig) && prunedRatio !== null && prunedRatio !== undefined) {
      tags.push(`P${pythonFloat(Math.round(prunedRatio * 1e4) / 100)}`);
    }
    tags.push(calibratorTag(calibratorConfig));
  }
  for (const tag of [parts.parallelism, parts.quantize]) if (tag) tags.push(tag);
  if (accumulatedCachedSteps && cacheConfig && cacheConfig.cacheType !== 'NONE')
    tags.push(`S${accumulatedCachedSteps}`);
  return tags.join('_');
}

/** A float as Python writes it: whole numbers with ".0", an exponent of two digits below 1e-4. */
function pythonFloat(value: number): string {
  if (Number.isInteger(value)) return `${value}.0`;
  if (Math.abs(value) >= 1e-4) return String(value);
  const [digits, exponent] = value.toExponential().split('e-') as [string, string];
  return `${digits}e-${exponent.padStart(2, '0')}`;
}
