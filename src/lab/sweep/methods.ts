/**
 * The settings that a sweep measures. A method is a curve, its settings are the points along it: thresholds, or fixed schedules
 * under which every forecaster pays the same.
 */

import type { CacheOptions } from '../../cache/config/cache-config.ts';
import type { CalibratorOptions } from '../../cache/config/calibrator-config.ts';
import { MASK_POLICIES, type StepMask, stepsMask } from '../../cache/config/steps-mask.ts';
import { DejaDitError, suggest } from '../../errors/errors.ts';
import type { Setting } from './sweep.ts';

/** Curves by name; steps are those of the uncached run. */
const curves: Readonly<Record<string, (steps: number) => Setting[]>> = {
  plain: (steps) =>
    [...new Set([0.72, 0.64, 0.5, 0.4, 0.32, 0.28].map((share) => Math.max(2, Math.round(share * steps))))].map(
      (fewer) => ({ method: 'plain', label: `${fewer} steps`, steps: fewer }),
    ),
  'cache-dit': () => [0.1, 0.12, 0.16, 0.2, 0.24, 0.4].map((r) => cacheDit(`R ${r}`, { residualDiffThreshold: r })),
  default: () =>
    [0.015, 0.025, 0.04, 0.06, 0.09, 0.13].map((errorBudget) => ({
      method: 'default',
      label: `E ${errorBudget}`,
      cache: { cacheConfig: { errorBudget } },
    })),
  // cache-dit's rule with our forecasters: what the rule alone is worth.
  threshold: () =>
    [0.08, 0.12, 0.16, 0.24].map((residualDiffThreshold) => ({
      method: 'threshold',
      label: `R ${residualDiffThreshold}`,
      cache: { cacheConfig: { residualDiffThreshold, maxWarmupSteps: 4 } },
    })),
  dbprune: () =>
    [0.06, 0.08, 0.12, 0.16].map((residualDiffThreshold) => ({
      method: 'dbprune',
      label: `R ${residualDiffThreshold}`,
      cache: { cacheConfig: { cacheType: 'DBPrune', residualDiffThreshold, maxWarmupSteps: 4 } },
    })),
  'easy-cache': () =>
    [0.02, 0.03, 0.05, 0.1].map((residualDiffThreshold) => ({
      method: 'easy-cache',
      label: `R ${residualDiffThreshold}`,
      cache: { cacheConfig: { cacheType: 'EasyCache', residualDiffThreshold, maxWarmupSteps: 4 } },
    })),
  'cache-dit-scm': () =>
    MASK_POLICIES.map((policy) => ({
      ...cacheDit(policy, { stepsComputationMask: policy, stepsComputationPolicy: 'static' }),
      method: 'cache-dit-scm',
    })),
};

/** cache-dit as its documentation recommends it: F1 B0, four warm-up steps, at most three cached in a row, Taylor of order 1. */
function cacheDit(label: string, cacheConfig: CacheOptions): Setting {
  return {
    method: 'cache-dit',
    label,
    cache: {
      cacheConfig: {
        compat: 'cache-dit',
        fnComputeBlocks: 1,
        maxWarmupSteps: 4,
        maxContinuousCachedSteps: 3,
        enableSeparateCfg: true,
        ...cacheConfig,
      },
      calibratorConfig: { type: 'taylorseer', order: 1 },
    },
  };
}

/** Forecasters by name, for fixed schedules; null is plain re-use. */
export const forecasters: Readonly<Record<string, CalibratorOptions | null>> = {
  reuse: null,
  taylorseer1: { type: 'taylorseer', order: 1 },
  taylorseer2: { type: 'taylorseer', order: 2 },
  taylorseer3: { type: 'taylorseer', order: 3 },
  foca: { type: 'foca' },
  dmd: { type: 'dmd' },
  probe1: { type: 'probe', order: 1 },
  probe2: { type: 'probe', order: 2 },
  compensated: { type: 'compensated' },
  'probe2-half': { type: 'probe', order: 2, gain: 0.5 },
};

/** Of these cache-dit has its own versions, which a comparison uses. */
const ofCacheDit = ['reuse', 'taylorseer1', 'taylorseer2', 'taylorseer3', 'foca', 'dmd'];

/** Fixed schedules by name: `every3` computes every third step after four in a row, the others are cache-dit's. */
export function scheduleMask(name: string, steps: number): StepMask {
  const [, interval] = /^every(\d+)$/.exec(name) ?? [];
  if (interval !== undefined && Number(interval) > 0)
    return Array.from({ length: steps }, (_, step) => (step < 4 || (step - 3) % Number(interval) === 0 ? 1 : 0));
  if (/^[01]+$/.test(name) && name.length === steps) return Array.from(name, (digit) => (digit === '1' ? 1 : 0));
  return stepsMask({ maskPolicy: name, totalSteps: steps });
}

/** One forecaster under one fixed schedule. */
export function scheduled(args: {
  method: string;
  calibrator: CalibratorOptions | null;
  schedule: string;
  steps: number;
}): Setting {
  const { method, calibrator, schedule, steps } = args;
  return {
    method,
    label: schedule,
    cache: {
      cacheConfig: {
        fnComputeBlocks: 1,
        maxWarmupSteps: 1,
        maxContinuousCachedSteps: -1,
        stepsComputationMask: scheduleMask(schedule, steps),
        stepsComputationPolicy: 'static',
        enableSeparateCfg: true,
        ...(ofCacheDit.includes(method) ? { compat: 'cache-dit', bnComputeBlocks: 0 } : {}),
      },
      ...(calibrator ? { calibratorConfig: calibrator } : {}),
    },
  };
}

export const curveNames = Object.keys(curves);

/** @throws DejaDitError `INVALID_ARGUMENT` naming the nearest method */
export function settingsOf(names: readonly string[], steps: number): Setting[] {
  return names.flatMap((name) => (curves[name] ?? unknown(name, curveNames))(steps));
}

export interface SettingChoice {
  /** Curves, or with `schedules` forecasters; those a sweep shows unless told otherwise. */
  methods?: readonly string[] | undefined;
  /** Fixed schedules instead of thresholds. */
  schedules?: readonly string[] | undefined;
  /** Of the uncached run. */
  steps: number;
  /** The forecaster `learned`, where there are coefficients for it. */
  learned?: CalibratorOptions | undefined;
}

/**
 * What a sweep measures.
 * @throws DejaDitError INVALID_ARGUMENT naming the nearest method
 */
export function chooseSettings({ methods, schedules, steps, learned }: SettingChoice): Setting[] {
  if (!schedules) return settingsOf(methods ?? ['plain', 'cache-dit', 'cache-dit-scm', 'default'], steps);
  const known: Readonly<Record<string, CalibratorOptions | null>> = { ...forecasters, ...(learned ? { learned } : {}) };
  return (methods ?? Object.keys(known)).flatMap((method) =>
    schedules.map((schedule) => {
      const calibrator = known[method];
      if (calibrator === undefined) return unknown(method, Object.keys(known));
      return scheduled({ method, calibrator, schedule, steps });
    }),
  );
}

function unknown(name: string, known: readonly string[]): never {
  throw new DejaDitError('INVALID_ARGUMENT', `there is no method '${name}'; ${suggest(name, known)}`, {
    path: 'methods',
  });
}
