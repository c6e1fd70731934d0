/** From the options of a cache to one cache for each transformer of a target, with everything checked that can be wrong. */
import * as z from 'zod';
import { DejaDitError } from '../../errors/errors.ts';
import { underOurNames } from '../../errors/options.ts';
import { WarningLog } from '../../errors/warnings.ts';
import { setAttnBackend } from '../adapters/attn-backend.ts';
import { type Cacheable, getAdapter } from '../adapters/block-adapter.ts';
import type { CacheOptions } from '../config/cache-config.ts';
import type { CalibratorOptions } from '../config/calibrator-config.ts';
import { completeConfigs } from '../config/defaults.ts';
import { applyModifier, type ParamsModifier } from '../config/params-modifier.ts';
import { CacheHandle, type CacheSettings, cacheUnits } from './cache-handle.ts';

/** The settings of one request's cache. Those of `enableCache` are the same, and may quantise weights besides. */
export interface RequestCacheOptions {
  /**
   * Default: F1 B0, and decisions by the error budget that measured best, unless another rule's fields are set. Left out beside
   * one of the three configs at the end, nothing is cached, as in cache-dit.
   */
  cacheConfig?: CacheOptions | null;
  /**
   * Forecaster of the skipped blocks. Default: `compensated` for an error budget below 0.1, else `probe`; in compat mode and for
   * DBPrune none. Null: plain re-use.
   */
  calibratorConfig?: CalibratorOptions | null;
  /** Overrides per block group, in the order the groups run, transformer after transformer. Default: the adapter's. */
  paramsModifiers?: readonly ParamsModifier[];
  /** See `setAttnBackend`. */
  attentionBackend?: string | null;
  /** Of cache-dit's config files; for `enableCache`. A request is computed where its models are. */
  parallelismConfig?: Readonly<Record<string, unknown>> | null;
}

/** With what a cache leaves to its caller. */
export type CacheArguments = RequestCacheOptions & { quantizeConfig?: unknown };

/** Python's spelling is taken too; each value is checked by whoever uses it. */
const options = {
  cacheConfig: z.unknown(),
  calibratorConfig: z.unknown(),
  paramsModifiers: z.unknown(),
  attentionBackend: z.unknown(),
  parallelismConfig: z.unknown(),
  quantizeConfig: z.unknown(),
} satisfies Record<keyof CacheArguments, z.ZodType>;

/** @throws DejaDitError INVALID_CONFIG for an option that is unknown or given twice */
export const cacheArguments = (given: object, path: string): CacheArguments => underOurNames(options, given, path);

/**
 * Caches for one request, which set nothing on the models.
 * @returns one for each transformer; none where the options ask for none
 * @throws DejaDitError INVALID_CONFIG naming the field
 */
export function requestCaches(
  target: Cacheable,
  { given, warnings }: { given: RequestCacheOptions; warnings: WarningLog },
): CacheHandle[] {
  const { quantizeConfig, parallelismConfig, ...options } = cacheArguments(given, 'cache');
  if (parallelismConfig)
    throw new DejaDitError('INVALID_CONFIG', 'a request cannot move the models to ranks; call enableCache before', {
      path: 'cache.parallelismConfig',
    });
  if (quantizeConfig)
    throw new DejaDitError('INVALID_CONFIG', 'a request cannot quantise the weights; call quantize before', {
      path: 'cache.quantizeConfig',
    });
  return makeCaches(target, { options, warnings }) ?? [];
}

export interface MakeCachesOptions {
  options: RequestCacheOptions;
  /** The caller has other things to do with these options: without `cacheConfig` there is no cache then. */
  doesMore?: boolean;
  warnings?: WarningLog;
}

/**
 * Checks everything that can be wrong.
 * @returns a cache for each transformer, none for type NONE; undefined if the options are about other things than caching
 */
export function makeCaches(
  target: Cacheable,
  { options, doesMore = false, warnings = new WarningLog() }: MakeCachesOptions,
): CacheHandle[] | undefined {
  const { attentionBackend } = options;
  const adapter = getAdapter(target);
  setAttnBackend(target, attentionBackend);
  if (!options.cacheConfig && (doesMore || attentionBackend)) {
    const idle = (['calibratorConfig', 'paramsModifiers'] as const).find((name) => options[name]);
    if (idle === undefined) {
      if (options.cacheConfig === undefined)
        warnings.add(
          'cacheConfig: is left out, so nothing is cached; {} takes the defaults, null says that it is meant',
        );
      return undefined;
    }
    throw new DejaDitError('INVALID_CONFIG', 'does nothing without cacheConfig', { path: idle });
  }
  const base: CacheSettings = completeConfigs(options);
  const modifiers = [...(options.paramsModifiers ?? adapter.paramsModifiers ?? [])];
  const given = modifiers.length;
  const made = adapter.parts.map((part) => {
    const units = cacheUnits(part, base.cacheConfig);
    if (units === 0)
      throw new DejaDitError(
        'UNSUPPORTED',
        `the blocks of ${part.model.className} differ in width and in what they hand on, so none can stand for another; ` +
          "whole calls can be skipped, with cacheType: 'EasyCache'",
        { path: 'cacheConfig.cacheType' },
      );
    const overrides = modifiers.splice(0, units);
    const settings = Array.from({ length: units }, (_, i) => (overrides[i] ? applyModifier(base, overrides[i]) : base));
    return new CacheHandle(part, settings, warnings);
  });
  if (modifiers.length > 0)
    warnings.add(
      `paramsModifiers: the last ${modifiers.length} have no effect, there are only ${given - modifiers.length} block groups`,
    );
  return base.cacheConfig.cacheType === 'NONE' ? [] : made;
}
