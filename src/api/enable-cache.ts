/**
 * Caching for the requests of a pipeline or bare transformer that name no cache of their own: setting it, changing it, taking it
 * off, and quantising the weights on the way. What a cache does is `cache/`, what quantising does `quantize/`.
 */

import type { Cacheable } from '../cache/adapters/block-adapter.ts';
import { applyModifier, type ParamsModifier } from '../cache/config/params-modifier.ts';
import { CacheHandle } from '../cache/run/cache-handle.ts';
import { defaultCaches, setDefaultCaches } from '../cache/run/default-caches.ts';
import { cacheArguments, makeCaches, type RequestCacheOptions } from '../cache/run/make-caches.ts';
import { DejaDitError } from '../errors/errors.ts';
import type { QuantizeOptions } from '../quantize/config/config.ts';

export type { Cacheable };

export interface EnableCacheOptions extends RequestCacheOptions {
  /** Quantises weights first, see `quantize`. That takes time, so `enableCache` then returns a promise. */
  quantizeConfig?: QuantizeOptions | null;
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
  const { quantizeConfig, ...options } = cacheArguments(given, 'enableCache');
  if (quantizeConfig) return enableQuantized(target, { ...options, quantizeConfig: quantizeConfig as QuantizeOptions });
  install(target, makeCaches(target, { options }));
  return target;
}

async function enableQuantized<T extends Cacheable>(
  target: T,
  { quantizeConfig, ...options }: RequestCacheOptions & { quantizeConfig: QuantizeOptions },
): Promise<T> {
  const caches = makeCaches(target, { options, doesMore: true });
  const { quantize } = await import('../quantize/quantize.ts');
  await quantize(target, quantizeConfig);
  install(target, caches);
  return target;
}

/** @param caches undefined where the options are about other things than caching */
function install(target: Cacheable, caches: readonly CacheHandle[] | undefined): void {
  if (caches) setDefaultCaches(target, caches);
}

/**
 * Turns caching off; the next forward is computed in full. A request under way goes on as it began.
 * @example
 * disableCache(enableCache(pipe));
 */
export function disableCache<T extends Cacheable>(target: T): T {
  setDefaultCaches(target, []);
  return target;
}

/**
 * Ends the request that bare `forward` calls form, so that the next call begins a new one; with options, under settings in which
 * the given fields are changed and all others stay.
 * @throws DejaDitError if no cache is enabled, or INVALID_CONFIG naming the field
 * @example
 * enableCache(model);
 * // … the forward calls of one picture …
 * refreshContext(model, { cacheConfig: { numInferenceSteps: 28 } });
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
  setDefaultCaches(target, isChanged ? found.map(next) : found);
}
