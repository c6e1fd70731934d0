/**
 * Putting a cache on a pipeline or a bare transformer, and taking it off. A cache is a way to run requests, kept beside the model:
 * the model itself is never changed, and two models never share any of it.
 */
import { DejaDitError } from '../errors/errors.ts';
import { warn } from '../errors/warnings.ts';
import type { TransformerModel } from '../models/transformer-model.ts';
import type { QuantizeOptions } from '../quantize/config.ts';
import { quantize } from '../quantize/quantize.ts';
import { setAttnBackend } from './attn-backend.ts';
import { type AdapterPart, type Cacheable, getAdapter } from './block-adapter.ts';
import { CacheHandle, type CacheSettings, cacheUnits } from './cache-handle.ts';
import type { CalibratorOptions } from './calibrator-config.ts';
import type { CacheOptions } from './config.ts';
import { completeConfigs } from './defaults.ts';
import { isOneOf, unknownKey } from './fields.ts';
import { applyModifier, type ParamsModifier } from './params-modifier.ts';

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

const handles = new WeakMap<TransformerModel, CacheHandle>();

/**
 * Turns caching on. Enabling again replaces the settings, for requests that begin from then on; a request under way goes on under
 * those it began with.
 * @param target a pipeline, a transformer, or a `BlockAdapter` for one of them
 * @returns its first argument; with `quantizeConfig` a promise of it, before which no request may begin
 * @throws DejaDitError INVALID_CONFIG naming the field; nothing is enabled then
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
  const options = underOurNames(given);
  const { quantizeConfig } = options;
  if (quantizeConfig) return enableQuantized(target, { ...options, quantizeConfig });
  prepare(target, options)();
  return target;
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
function underOurNames(options: object): EnableCacheOptions {
  const entries = Object.entries(options).map(([key, value]) => {
    const name = OPTIONS.find((option) => isOneOf(key, [option]));
    if (name === undefined) throw unknownKey({ key, known: OPTIONS, path: 'enableCache' });
    return [name, value];
  });
  return Object.fromEntries(entries);
}

async function enableQuantized<T extends Cacheable>(
  target: T,
  options: EnableCacheOptions & { quantizeConfig: QuantizeOptions },
): Promise<T> {
  const apply = prepare(target, options);
  await quantize(target, options.quantizeConfig);
  apply();
  return target;
}

/** Checks everything that can be wrong. @returns what puts the cache on */
function prepare(target: Cacheable, options: EnableCacheOptions): () => void {
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
        warn('cacheConfig: is left out, so nothing is cached; {} takes the defaults, null says that it is meant');
      return () => {};
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
    return new CacheHandle(part, settings);
  });
  return () => {
    for (const handle of made) install(handle);
    if (modifiers.length > 0)
      warn(
        `paramsModifiers: the last ${modifiers.length} have no effect, there are only ${given - modifiers.length} block groups`,
      );
  };
}

/** Turns caching off; the next forward is computed in full. A request under way goes on as it began. */
export function disableCache<T extends Cacheable>(target: T): T {
  for (const { model } of getAdapter(target).parts) {
    model.endImplicitSession();
    model.sessionFactory = undefined;
    handles.delete(model);
  }
  return target;
}

/**
 * Ends the request that bare `forward` calls form, so that the next call begins a new one; with options, under settings in which
 * the given fields are changed and all others stay.
 * @throws DejaDitError if no cache is enabled, or INVALID_CONFIG naming the field
 */
export function refreshContext(target: Cacheable, options: ParamsModifier = {}): void {
  const found = getAdapter(target).parts.map(({ model }) => {
    const handle = handles.get(model);
    if (handle) return handle;
    throw new DejaDitError(
      'INVALID_ARGUMENT',
      `no cache is enabled on this ${model.className}; call enableCache first`,
    );
  });
  if (options.cacheConfig || options.calibratorConfig) {
    const changed = found.map(
      (handle) =>
        new CacheHandle(
          handle.part,
          handle.settings.map((settings) => applyModifier(settings, options)),
        ),
    );
    for (const handle of changed) install(handle);
  } else for (const { part } of found) part.model.endImplicitSession();
}

/** The transformers of a target with their caches, where one is enabled. */
export function handlesOf(target: Cacheable): { part: AdapterPart; handle: CacheHandle | undefined }[] {
  return getAdapter(target).parts.map((part) => ({ part, handle: handles.get(part.model) }));
}

function install(handle: CacheHandle): void {
  const { model } = handle.part;
  model.endImplicitSession();
  handles.set(model, handle);
  const isOff = handle.settings.every(({ cacheConfig }) => cacheConfig.cacheType === 'NONE');
  model.sessionFactory = isOff ? undefined : (_, options) => handle.newSession(options);
}
