/**
 * Caching for the requests of a pipeline or bare transformer that name no cache of their own: setting it, changing it, taking it
 * off, and on the way quantising the weights and moving the models to ranks. What a cache does is `cache/`, what quantising does
 * `quantize/`, what ranks do `parallel/`.
 */

import { parallelize } from '#parallel/parallelize';
import { launchedBy } from '#runtime/launched-by';
import { setAttnBackend } from '../cache/adapters/attn-backend.ts';
import { type Cacheable, getAdapter } from '../cache/adapters/block-adapter.ts';
import { applyModifier, type ParamsModifier } from '../cache/config/params-modifier.ts';
import { CacheHandle } from '../cache/run/cache-handle.ts';
import { defaultCaches, setDefaultCaches } from '../cache/run/default-caches.ts';
import { cacheArguments, makeCaches, type RequestCacheOptions } from '../cache/run/make-caches.ts';
import { DejaDitError } from '../errors/errors.ts';
import { Autoencoder } from '../models/autoencoders/autoencoder.ts';
import { type Components, extraModules } from '../parallel/config/extra-modules.ts';
import { type ParallelismOptions, parseParallelismConfig } from '../parallel/config/parallelism-config.ts';
import type { QuantizeOptions } from '../quantize/config/config.ts';

export type { Cacheable };

export interface EnableCacheOptions extends RequestCacheOptions {
  /** Quantises weights first, see `quantize`. That takes time, so `enableCache` then returns a promise. */
  quantizeConfig?: QuantizeOptions | null;
  /**
   * Computes the transformers, and what else it names, on several ranks, see docs/parallelism.md: threads of this process, or under
   * `mpirun` all processes that run this program. Null: on one again. Left out, they stay where they are.
   */
  parallelismConfig?: ParallelismOptions | null;
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
  if (quantizeConfig) return enableQuantized(target, options, quantizeConfig as QuantizeOptions);
  plan(target, options)();
  return target;
}

async function enableQuantized<T extends Cacheable>(
  target: T,
  options: Omit<EnableCacheOptions, 'quantizeConfig'>,
  quantizeConfig: QuantizeOptions,
): Promise<T> {
  const carryOut = plan(target, options, { doesMore: true });
  const { quantize } = await import('../quantize/quantize.ts');
  await quantize(target, quantizeConfig);
  carryOut();
  return target;
}

/** Checks all that is asked for. @returns does it */
function plan(
  target: Cacheable,
  { parallelismConfig, ...options }: Omit<EnableCacheOptions, 'quantizeConfig'>,
  { doesMore = Boolean(parallelismConfig) } = {},
): () => void {
  const move = planMove(target, parallelismConfig);
  const caches = makeCaches(target, { options, doesMore });
  return () => {
    move();
    // Without caches the options are about other things than caching.
    if (caches) setDefaultCaches(target, caches);
  };
}

/** Checks where models are to go. @returns brings them there */
function planMove(target: Cacheable, options: ParallelismOptions | null | undefined): () => void {
  const { parts, pipe: given } = getAdapter(target);
  const transformers = parts.map(({ model }) => model);
  const pipe = given && 'components' in given ? (given as Components) : undefined;
  if (options === undefined) return () => undefined;
  const config = options && parseParallelismConfig(options, { ranks: launchedBy()?.size });
  if (config) setAttnBackend(target, config.attentionBackend);
  const { models, autoencoders } = config ? extraModules(config, pipe) : { models: {}, autoencoders: {} };
  const others = [...transformers, ...Object.values(pipe?.models ?? {}), ...Object.values(pipe?.autoencoders ?? {})];
  return () => {
    const beside = { models: Object.values(models), autoencoders: Object.values(autoencoders) };
    if (config) parallelize({ transformers, ...beside }, config);
    const staying = new Set<unknown>(config ? [...transformers, ...beside.models, ...beside.autoencoders] : []);
    for (const other of others) {
      if (staying.has(other)) continue;
      if (other instanceof Autoencoder) other.shareOut(undefined);
      else other.moveTo();
    }
  };
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
