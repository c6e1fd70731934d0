/**
 * What a cache may be told: DBCacheConfig, DBPruneConfig and their one set of defaults. Forecaster options are in
 * `calibrator-config.ts`, changes for single block lists in `params-modifier.ts`, files in `load-configs.ts`, tags in `tag.ts`.
 */
import * as z from 'zod';
import { DejaDitError } from '../../errors/errors.ts';
import {
  alsoCalled,
  asObject,
  type Fields,
  givenOptions,
  integer,
  knownNames,
  type Options,
  real,
} from '../../errors/options.ts';
import { quote } from '../../errors/printable.ts';
import { type CacheType, cacheType } from './cache-type.ts';
import { THRESHOLD_FIELDS } from './rule.ts';
import { MASK_POLICIES, type MaskPolicy, maskPolicy, type StepMask } from './steps-mask.ts';
import { budgetForPsnr } from './target-psnr.ts';

/** Settings of the dual block cache: first F blocks always run, middle blocks are re-used, last B blocks always run. */
export interface DBCacheConfig {
  /** `NONE`: nothing is cached. */
  cacheType: CacheType;
  /** F: first blocks, computed on every step; their residual tells how far a step has moved. At least 1. Default 1. */
  fnComputeBlocks: number;
  /** B: last blocks, computed on every step. Default 0. */
  bnComputeBlocks: number;
  /** R: re-use while the relative L1 change of the probe is below this; <= 0 never, >= 1 always. Default 0.24. */
  residualDiffThreshold: number;
  /** Compute once the diffs summed since the last computed step reach this; null or 0: no limit. */
  maxAccumulatedResidualDiffThreshold: number | null;
  /**
   * Decide by the forecast's own visible error instead of R: how far the first blocks are from their forecast, relative, weighted
   * by what an error costs on that step and summed since the last computed step, stays below this. Null: R decides.
   */
  errorBudget: number | null;
  /** The error budget that reached this PSNR in dB, on average, on the bundled model; an estimate on any other. */
  targetPsnr: number | null;
  /** W: steps at the start that are computed. Null, the default: 8, at most a third of the steps; 1 with `errorBudget`. */
  maxWarmupSteps: number | null;
  /** I: of the warm-up steps only every I-th must be computed. Default 1. */
  warmupInterval: number;
  /** M: re-used steps per request and branch; -1: no limit, 0: none. */
  maxCachedSteps: number;
  /** MC: re-used steps in a row; -1: no limit. Default 3; no limit with `errorBudget`. */
  maxContinuousCachedSteps: number;
  /** Model calls alternate between the two branches of classifier-free guidance. Null: what is known of the model. */
  enableSeparateCfg: boolean | null;
  /** Of two alternating calls the unconditional one comes first. */
  cfgComputeFirst: boolean;
  /** false: the second branch of a step decides by the diff that the first one measured. Default true. */
  cfgDiffComputeSeparate: boolean;
  /** Steps of a request, where calls of a bare model must be cut into requests. */
  numInferenceSteps: number | null;
  /** 1 = compute, 0 = may re-use, one per step; or a policy of `stepsMask`. */
  stepsComputationMask: StepMask | MaskPolicy | null;
  /** At a 0 of the mask: `dynamic` lets the other gates decide, `static` re-uses. */
  stepsComputationPolicy: 'dynamic' | 'static';
  /** Start afresh after this many steps (in compat mode: model calls). */
  forceRefreshStepHint: number | null;
  forceRefreshStepPolicy: 'once' | 'repeat';
  /** Compare hidden states after the first blocks, against this threshold, instead of their residual. */
  l1HiddenStatesDiffThreshold: number | null;
  /** Above 0: only tokens whose own relative change exceeds this enter the diff. */
  importantConditionThreshold: number;
  /** Compare every k-th channel only (less memory for the probe). */
  downsampleFactor: number;
  /** `cache-dit`: defaults and decisions of cache-dit 1.3.5, its known defects included. */
  compat: 'cache-dit' | null;
}

/** Settings of dynamic block pruning: every block but the protected ones is skipped while its input hardly changes. */
export interface DBPruneConfig extends DBCacheConfig {
  cacheType: 'DBPrune';
  /** Relax the threshold to the mean diff of the step's first blocks times `dynamicPruneThresholdRelaxRatio`. */
  enableDynamicPruneThreshold: boolean;
  /** The relaxed threshold is used only below this. Null: twice `residualDiffThreshold`. */
  maxDynamicPruneThreshold: number | null;
  dynamicPruneThresholdRelaxRatio: number;
  /** Blocks that are always computed, beside the first F and the last B. */
  nonPruneBlockIds: readonly number[];
  /** Compare every 4th channel only when a calibrator keeps snapshots too. */
  forceReduceCalibratorVram: boolean;
}

export type CacheConfig = DBCacheConfig | DBPruneConfig;
/** `CacheConfig` as a user writes it: camelCase, the Python spelling (`Fn_compute_blocks`) or `Fn`/`Bn`. */
export type CacheOptions = Options<Omit<DBPruneConfig, 'cacheType' | 'stepsComputationMask'>> & {
  cacheType?: string;
  stepsComputationMask?: readonly number[] | string | null;
  Fn?: number;
  Bn?: number;
};

const policies = MASK_POLICIES.flatMap((policy) => [policy, policy[0]!]);
const maskField = z.union([z.array(z.literal([0, 1])).min(1), z.enum(policies).transform(maskPolicy)], {
  error: `must be a non-empty list of 0 and 1, or one of ${MASK_POLICIES.join(', ')}`,
});

const cacheFields = {
  cacheType: z.string().transform((name) => cacheType(name)),
  fnComputeBlocks: alsoCalled(integer({ min: 1 }), 'Fn'),
  bnComputeBlocks: alsoCalled(integer({ min: 0 }), 'Bn'),
  residualDiffThreshold: real(),
  maxAccumulatedResidualDiffThreshold: real({ min: 0 }),
  errorBudget: real({ min: 0 }),
  targetPsnr: real({ min: 0 }),
  maxWarmupSteps: integer({ min: 0 }),
  warmupInterval: integer({ min: 1 }),
  maxCachedSteps: integer({ min: -1 }),
  maxContinuousCachedSteps: integer({ min: -1 }),
  enableSeparateCfg: z.boolean(),
  cfgComputeFirst: z.boolean(),
  cfgDiffComputeSeparate: z.boolean(),
  numInferenceSteps: integer({ min: 1 }),
  stepsComputationMask: maskField,
  stepsComputationPolicy: z.enum(['dynamic', 'static']),
  forceRefreshStepHint: integer({ min: 1 }),
  forceRefreshStepPolicy: z.enum(['once', 'repeat']),
  l1HiddenStatesDiffThreshold: real({ min: 0 }),
  importantConditionThreshold: real({ min: 0 }),
  downsampleFactor: integer({ min: 1 }),
  compat: z.literal('cache-dit'),
} satisfies Fields<DBCacheConfig>;

const pruneFields = {
  ...cacheFields,
  cacheType: cacheFields.cacheType.pipe(z.literal('DBPrune')),
  enableDynamicPruneThreshold: z.boolean(),
  maxDynamicPruneThreshold: real({ min: 0 }),
  dynamicPruneThresholdRelaxRatio: real({ min: 0 }),
  nonPruneBlockIds: z.array(integer({ min: 0 })),
  forceReduceCalibratorVram: z.boolean(),
} satisfies Fields<DBPruneConfig>;

const DEFAULTS: DBCacheConfig = {
  cacheType: 'DBCache',
  fnComputeBlocks: 1,
  bnComputeBlocks: 0,
  residualDiffThreshold: 0.24,
  maxAccumulatedResidualDiffThreshold: null,
  errorBudget: null,
  targetPsnr: null,
  maxWarmupSteps: null,
  warmupInterval: 1,
  maxCachedSteps: -1,
  maxContinuousCachedSteps: 3,
  enableSeparateCfg: null,
  cfgComputeFirst: false,
  cfgDiffComputeSeparate: true,
  numInferenceSteps: null,
  stepsComputationMask: null,
  stepsComputationPolicy: 'dynamic',
  forceRefreshStepHint: null,
  forceRefreshStepPolicy: 'once',
  l1HiddenStatesDiffThreshold: null,
  importantConditionThreshold: 0,
  downsampleFactor: 1,
  compat: null,
};

/** The Python API's defaults where they differ (its command line, server and documentation each have others). */
const COMPAT_DEFAULTS = {
  fnComputeBlocks: 8,
  residualDiffThreshold: 0.08,
  maxWarmupSteps: 8,
  maxContinuousCachedSteps: -1,
} as const satisfies Partial<DBCacheConfig>;

const PRUNE_DEFAULTS = {
  enableDynamicPruneThreshold: false,
  maxDynamicPruneThreshold: null,
  dynamicPruneThresholdRelaxRatio: 1.25,
  nonPruneBlockIds: [],
  forceReduceCalibratorVram: false,
} as const satisfies Partial<DBPruneConfig>;

/** The threshold is another one: of the output's own movement, summed since the last computed step. */
const EASY_DEFAULTS = { residualDiffThreshold: 0.05 } as const satisfies Partial<DBCacheConfig>;

/** Fields that mean blocks, or a forecast from them. */
const BLOCK_FIELDS = [
  'fnComputeBlocks',
  'bnComputeBlocks',
  'maxAccumulatedResidualDiffThreshold',
  'l1HiddenStatesDiffThreshold',
  'importantConditionThreshold',
  'downsampleFactor',
  'compat',
] as const satisfies readonly (keyof DBCacheConfig)[];

export const isPrune = (config: CacheConfig): config is DBPruneConfig => config.cacheType === 'DBPrune';

/** Every spelling of a field of any cache, for error messages that look for the nearest one. */
export const cacheFieldNames = (): string[] => knownNames(pruneFields);

/**
 * The whole config for some options: checked, defaults filled in, canonical names. Reading its result again gives the
 * same. Throws `INVALID_CONFIG` with the field and the reason; for an unknown key, with the nearest known one.
 */
export function parseCacheConfig(options: CacheOptions = {}, path = 'cacheConfig'): CacheConfig {
  const type = typeOf(options, path);
  const given = readCache({ options, type, path });
  const budgeted = budgetOf(given, path);
  if (type === 'EasyCache')
    refuse(BLOCK_FIELDS, {
      given,
      path,
      reason: 'has no effect with EasyCache, which skips whole calls; leave it out',
    });
  if (budgeted !== null)
    refuse(THRESHOLD_FIELDS, {
      given,
      path,
      reason: 'has no effect where an error budget decides; give one of the two',
    });
  const defaults = {
    ...DEFAULTS,
    ...(given.compat === 'cache-dit' ? COMPAT_DEFAULTS : {}),
    ...(type === 'EasyCache' ? EASY_DEFAULTS : {}),
    ...(budgeted === null ? {} : { errorBudget: budgeted, maxWarmupSteps: 1, maxContinuousCachedSteps: -1 }),
  };
  const config: CacheConfig =
    type === 'DBPrune'
      ? { ...defaults, ...PRUNE_DEFAULTS, ...given, cacheType: type }
      : { ...defaults, ...given, cacheType: type };
  if (budgeted !== null && config.stepsComputationMask !== null && config.stepsComputationPolicy === 'static') {
    const named = given.errorBudget === undefined ? 'targetPsnr' : 'errorBudget';
    throw new DejaDitError(
      'INVALID_CONFIG',
      "has no effect beside a static mask, which decides alone; give one of the two, or stepsComputationPolicy 'dynamic'",
      { path: `${path}.${named}` },
    );
  }
  if (config.compat && config.enableSeparateCfg && config.cfgDiffComputeSeparate && config.cfgComputeFirst) {
    throw new DejaDitError(
      'INVALID_CONFIG',
      'must be false in compat mode with cfgDiffComputeSeparate and enableSeparateCfg',
      { path: `${path}.cfgComputeFirst` },
    );
  }
  return config;
}

/** @throws DejaDitError INVALID_CONFIG if what the budget replaces is asked for as well */
function budgetOf(given: Partial<CacheConfig>, path: string): number | null {
  const { errorBudget, targetPsnr } = given;
  const named = errorBudget === undefined ? 'targetPsnr' : 'errorBudget';
  if (errorBudget === undefined && targetPsnr === undefined) return null;
  const other = given.compat
    ? "compat: 'cache-dit'"
    : given.cacheType !== undefined && given.cacheType !== 'DBCache'
      ? given.cacheType
      : undefined;
  if (other !== undefined) {
    throw new DejaDitError('INVALID_CONFIG', `is not known to ${other}`, { path: `${path}.${named}` });
  }
  return errorBudget ?? budgetForPsnr(targetPsnr!);
}

/** Reading a config again must not fail, so a field may repeat its default. */
function refuse(
  fields: readonly (keyof DBCacheConfig)[],
  { given, path, reason }: { given: Partial<CacheConfig>; path: string; reason: string },
): void {
  const field = fields.find((name) => given[name] !== undefined && given[name] !== DEFAULTS[name]);
  if (field !== undefined) throw new DejaDitError('INVALID_CONFIG', reason, { path: `${path}.${field}` });
}

function typeOf(options: unknown, path: string): CacheType {
  const { cacheType: camel, cache_type: snake } = asObject(options, path) as {
    cacheType?: unknown;
    cache_type?: unknown;
  };
  const name = camel ?? snake ?? 'DBCache';
  if (typeof name === 'string') return cacheType(name, `${path}.cacheType`);
  throw new DejaDitError('INVALID_CONFIG', `must be a name, got ${quote(name)}`, { path: `${path}.cacheType` });
}

/** The given fields under canonical names, checked one by one. */
export function readCache({ options, type, path }: { options: unknown; type: CacheType; path: string }) {
  const given: Partial<CacheConfig> =
    type === 'DBPrune'
      ? givenOptions<DBPruneConfig>(pruneFields, options, path)
      : givenOptions<DBCacheConfig>(cacheFields, options, path);
  return given;
}
