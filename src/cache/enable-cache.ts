/**
 * Putting a cache on a pipeline or a bare transformer, and taking it off. A cache is a way to run requests, kept beside the model:
 * the model itself is never changed, and two models never share any of it.
 */
import { DejaDitError } from '../errors/errors.ts';
import { warn } from '../errors/warnings.ts';
import { TransformerModel } from '../models/transformer-model.ts';
import { advise } from './advise.ts';
import { type Section, sectionsOf } from './block-group.ts';
import { CacheSession } from './cache-session.ts';
import { type CalibratorConfig, type CalibratorOptions, parseCalibratorConfig } from './calibrator-config.ts';
import {
  applyModifier,
  type CacheConfig,
  type CacheOptions,
  checkBlocks,
  isPrune,
  type ParamsModifier,
  parseCacheConfig,
  resolveForSteps,
} from './config.ts';
import { DualBlockCache, type GroupCache } from './group-cache.ts';
import { PruneCache } from './prune-cache.ts';
import { buildStats, type CacheStats } from './stats.ts';

export interface EnableCacheOptions {
  /** Default: our defaults (F1 B0, R 0.24, W at most 8 and a third of the steps, MC 3). */
  cacheConfig?: CacheOptions;
  /** Forecaster of the skipped blocks. Default: none, which is plain re-use. */
  calibratorConfig?: CalibratorOptions;
  /** Overrides per block group, in the order the groups run. */
  paramsModifiers?: readonly ParamsModifier[];
}

/** Whatever has transformers: a pipeline, or one transformer. */
export type Cacheable = TransformerModel | { readonly transformers: Readonly<Record<string, TransformerModel>> };

interface GroupSettings {
  cacheConfig: CacheConfig;
  calibratorConfig: CalibratorConfig | null;
}

/** A cache on one transformer: its settings, and the statistics of its latest request. */
interface Handle {
  sections: readonly Section[];
  groups: readonly GroupSettings[];
  current: CacheSession | undefined;
  stats: CacheStats[] | undefined;
}

const handles = new WeakMap<TransformerModel, Handle>();

/**
 * Turns caching on. Enabling again replaces the settings, for requests that begin from then on.
 * @returns its first argument
 * @throws DejaDitError INVALID_CONFIG naming the field
 */
export function enableCache<T extends Cacheable>(target: T, options: EnableCacheOptions = {}): T {
  const base: GroupSettings = {
    cacheConfig: parseCacheConfig(options.cacheConfig),
    calibratorConfig: options.calibratorConfig ? parseCalibratorConfig(options.calibratorConfig) : null,
  };
  let modifier = 0;
  for (const model of modelsOf(target)) {
    const sections = sectionsOf(model.definition);
    const groups = sections.flatMap((section) => {
      if (section.kind === 'plain') return [];
      const override = options.paramsModifiers?.[modifier++];
      const settings = override ? applyModifier(base, override) : base;
      checkBlocks(settings.cacheConfig, { blocks: section.group.count, path: section.group.name });
      warnAbout(settings, { blocks: section.group.count });
      return [settings];
    });
    model.endImplicitSession();
    const handle: Handle = { sections, groups, current: undefined, stats: undefined };
    handles.set(model, handle);
    model.sessionFactory =
      base.cacheConfig.cacheType === 'NONE'
        ? undefined
        : (owner, { numInferenceSteps }) => newSession(owner, handle, numInferenceSteps);
  }
  const unused = (options.paramsModifiers?.length ?? 0) - modifier;
  if (unused > 0) warn(`paramsModifiers: the last ${unused} have no effect, there are only ${modifier} block groups`);
  return target;
}

/** Turns caching off; the next forward is computed in full. */
export function disableCache<T extends Cacheable>(target: T): T {
  for (const model of modelsOf(target)) {
    model.endImplicitSession();
    model.sessionFactory = undefined;
    handles.delete(model);
  }
  return target;
}

/**
 * Ends the request that bare `forward` calls form, so that the next call begins a new one; with options, under changed settings.
 * @throws DejaDitError if no cache is enabled
 */
export function refreshContext(model: TransformerModel, options?: EnableCacheOptions): void {
  handleOf(model);
  if (options) enableCache(model, options);
  else model.endImplicitSession();
}

/** Statistics of the latest request, finished or in progress: one per transformer (with `details`, per block group). */
export function cacheStats(target: Cacheable, { details = false }: { details?: boolean } = {}): CacheStats[] {
  return modelsOf(target).flatMap((model) => {
    const handle = handles.get(model);
    if (!handle) return [];
    const stats = handle.current ? statsOf(handle.current, handle) : (handle.stats ?? []);
    return details ? stats : stats.slice(-1);
  });
}

function newSession(model: TransformerModel, handle: Handle, steps: number | undefined): CacheSession {
  const { definition, programs } = model;
  const caches = handle.sections
    .flatMap((section) => (section.kind === 'group' ? [section.group] : []))
    .map((group, i): GroupCache => {
      const { cacheConfig, calibratorConfig } = handle.groups[i]!;
      const known = { ...cacheConfig, enableSeparateCfg: cacheConfig.enableSeparateCfg ?? definition.separateCfg };
      const config = resolveForSteps(known, known.numInferenceSteps ?? steps ?? null);
      const rest = { group, calibratorConfig, backend: programs.backend };
      return isPrune(config) ? new PruneCache({ ...rest, config }) : new DualBlockCache({ ...rest, config });
    });
  const session = new CacheSession({
    model,
    sections: handle.sections,
    caches,
    onEnd: (ended) => {
      handle.stats = statsOf(ended, handle);
      if (handle.current === ended) handle.current = undefined;
      for (const [i, { calls }] of ended.caches.entries()) warnAbout(handle.groups[i]!, { calls });
    },
  });
  handle.current = session;
  return session;
}

function statsOf(session: CacheSession, handle: Handle): CacheStats[] {
  return session.caches.map(({ state, calls }, i) => {
    const { cacheConfig, calibratorConfig } = handle.groups[i]!;
    return buildStats({ state, config: cacheConfig, calibratorConfig, calls });
  });
}

function warnAbout(
  { cacheConfig, calibratorConfig }: GroupSettings,
  about: Partial<Parameters<typeof advise>[0]>,
): void {
  for (const { message } of advise({ config: cacheConfig, calibratorConfig, ...about }))
    warn(`cacheConfig: ${message}`);
}

function handleOf(model: TransformerModel): Handle {
  const handle = handles.get(model);
  if (handle) return handle;
  throw new DejaDitError('INVALID_ARGUMENT', `no cache is enabled on this ${model.className}; call enableCache first`);
}

function modelsOf(target: Cacheable): TransformerModel[] {
  return target instanceof TransformerModel ? [target] : Object.values(target.transformers);
}
