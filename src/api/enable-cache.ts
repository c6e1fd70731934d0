/**
 * The cache of a pipeline's or bare transformer's requests that name none of their own: setting it, changing it, taking it off. It is
 * kept by the model, as `defaultCache`. A request's own cache is made here too, and kept by the request.
 */

import { setAttnBackend } from '../cache/adapters/attn-backend.ts';
import { type AdapterPart, type Cacheable, getAdapter } from '../cache/adapters/block-adapter.ts';
import type { CacheOptions } from '../cache/config/cache-config.ts';
import type { CalibratorOptions } from '../cache/config/calibrator-config.ts';
import { completeConfigs } from '../cache/config/defaults.ts';
import { asObject, isOneOf, unknownKey } from '../cache/config/fields.ts';
import { applyModifier, type ParamsModifier } from '../cache/config/params-modifier.ts';
import { CacheHandle, type CacheSettings, cacheUnits } from '../cache/run/cache-handle.ts';
import { DejaDitError } from '../errors/errors.ts';
import { WarningLog } from '../errors/warnings.ts';
import type { QuantizeOptions } from '../quantize/config.ts';
import { quantize } from '../quantize/quantize.ts';

export type { Cacheable };

export interface EnableCacheOptions {
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
  /** Quantises weights first, see `quantize`. That takes time, so `enableCache` then returns a promise. */
  quantizeConfig?: QuantizeOptions | null;
  /** Of cache-dit's config files. Refused: one process computes a model here. */
  parallelismConfig?: Readonly<Record<string, unknown>> | null;
}

/**
 * Turns caching on, for all requests but those that bring a `cache` of their own. Enabling again replaces the settings, for requests
 * that begin from then on; a request under way goes on under those it began with.
 * @param target a pipeline, a transformer, or a `BlockAdapter` for one of them
 * @returns its first argument; with `quantizeConfig` a promise of it, before which no request may begin
 * @throws DejaDitError INVALID_CONFIG naming the field; nothing is enabled then
 * @example
 * enableCache(pipe);
 * enableCache(pipe, { cacheConfig: { errorBudget: 0.05 } });
 */
export function enableCache<T extends Cacheable>(
  target: T,
  options: EnableCacheOptions & { quantizeConfig: QuantizeOptions },
): Promise<T>;
export function enableCache<T extends Cacheable>(
  target: T,
  options?: Omit<EnableCacheOptions, 'quantizeConfig'> & { quantizeConfig?: null },
): T;
export function enableCache<T extends Cacheable>(target: T, options?: EnableCacheOptions): T | Promise<T>;
export function enableCache<T extends Cacheable>(target: T, given: EnableCacheOptions = {}): T | Promise<T> {
  const options = underOurNames(given, 'enableCache');
  const { quantizeConfig } = options;
  if (quantizeConfig) return enableQuantized(target, { ...options, quantizeConfig });
  install(target, makeCaches(target, { options }));
  return target;
}

/** The settings of one request's cache: those of `enableCache`, as far as they concern a single request. */
export type RequestCacheOptions = Omit<EnableCacheOptions, 'quantizeConfig'>;

/**
 * Caches for one request, which set nothing on the models.
 * @returns one for each transformer; none where the options ask for none
 * @throws DejaDitError INVALID_CONFIG naming the field
 */
export function requestCaches(
  target: Cacheable,
  { given, warnings }: { given: RequestCacheOptions; warnings: WarningLog },
): CacheHandle[] {
  const options = underOurNames(asObject(given, 'cache'), 'cache');
  if (options.quantizeConfig)
    throw new DejaDitError('INVALID_CONFIG', 'a request cannot quantise the weights; call quantize before', {
      path: 'cache.quantizeConfig',
    });
  return makeCaches(target, { options, warnings }) ?? [];
}

const OPTIONS = [
  'cacheConfig',
  'calibratorConfig',
  'paramsModifiers',
  'attentionBackend',
  'quantizeConfig',
  'parallelismConfig',
] as const satisfies readonly (keyof EnableCacheOptions)[];

/** Takes Python's spelling, and lets no misspelt option pass. */
function underOurNames(options: object, path: string): EnableCacheOptions {
  const entries = Object.entries(options).map(([key, value]) => {
    const name = OPTIONS.find((option) => isOneOf(key, [option]));
    if (name === undefined) throw unknownKey({ key, known: OPTIONS, path });
    return [name, value];
  });
  return Object.fromEntries(entries);
}

async function enableQuantized<T extends Cacheable>(
  target: T,
  options: EnableCacheOptions & { quantizeConfig: QuantizeOptions },
): Promise<T> {
  const caches = makeCaches(target, { options });
  await quantize(target, options.quantizeConfig);
  install(target, caches);
  return target;
}

/**
 * Checks everything that can be wrong.
 * @returns a cache for each transformer, none for type NONE; undefined if the options are about other things than caching
 */
function makeCaches(
  target: Cacheable,
  { options, warnings = new WarningLog() }: { options: EnableCacheOptions; warnings?: WarningLog },
): CacheHandle[] | undefined {
  const { attentionBackend, parallelismConfig, quantizeConfig } = options;
  const adapter = getAdapter(target);
  if (parallelismConfig)
    throw new DejaDitError('UNSUPPORTED', 'one process computes a model here; leave it out', {
      path: 'parallelismConfig',
    });
  setAttnBackend(target, attentionBackend);
  if (!options.cacheConfig && (quantizeConfig || attentionBackend)) {
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

function install(target: Cacheable, caches: readonly CacheHandle[] | undefined): void {
  if (!caches) return;
  for (const { model } of getAdapter(target).parts)
    model.setDefaultCache(caches.find(({ part }) => part.model === model));
}

/**
 * Turns caching off; the next forward is computed in full. A request under way goes on as it began.
 * @example
 * disableCache(enableCache(pipe));
 */
export function disableCache<T extends Cacheable>(target: T): T {
  install(target, []);
  return target;
}

/**
 * Ends the request that bare `forward` calls form, so that the next call begins a new one; with options, under settings in which
 * the given fields are changed and all others stay.
 * @throws DejaDitError if no cache is enabled, or INVALID_CONFIG naming the field
 */
export function refreshContext(target: Cacheable, options: ParamsModifier = {}): void {
  const found = defaultCaches(target).map(({ part, cache }) => {
    if (cache) return cache;
    throw new DejaDitError(
      'INVALID_ARGUMENT',
      `no cache is enabled on this ${part.model.className}; call enableCache first`,
    );
  });
  const isChanged = options.cacheConfig || options.calibratorConfig;
  const next = (cache: CacheHandle) =>
    new CacheHandle(
      cache.part,
      cache.settings.map((settings) => applyModifier(settings, options)),
    );
  install(target, isChanged ? found.map(next) : found);
}

/** The transformers of a target with their default caches, where one is enabled. */
export function defaultCaches(target: Cacheable): { part: AdapterPart; cache: CacheHandle | undefined }[] {
  return getAdapter(target).parts.map((part) => {
    const { defaultCache } = part.model;
    return { part, cache: defaultCache instanceof CacheHandle ? defaultCache : undefined };
  });
}
