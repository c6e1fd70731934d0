/**
 * The sessions of one request, one for each transformer that it calls: under the cache that it brings, or under the transformers'
 * default ones. What a session does is in `cache-session.ts`; whoever opens one ends it.
 */

import { DejaDitError } from '../../errors/errors.ts';
import type { WarningLog } from '../../errors/warnings.ts';
import type {
  ForwardSession,
  SessionFactory,
  SessionOptions,
  TransformerModel,
} from '../../models/transformer-model.ts';
import type { HasTransformers } from '../adapters/block-adapter.ts';
import { type CacheStats, noStats } from '../report/stats.ts';
import { CacheHandle } from './cache-handle.ts';
import { type RequestCacheOptions, requestCaches } from './make-caches.ts';

export interface RequestSessionsOptions {
  /**
   * Settings of a cache for this request alone, false for none, or something else that runs the calls of a pipeline's only
   * transformer. Default: the transformers' default caches.
   */
  cache?: RequestCacheOptions | SessionFactory | false | undefined;
  warnings: WarningLog;
}

export class RequestSessions {
  /** The request's own, by transformer; undefined: the default ones. */
  private readonly caches: ReadonlyMap<TransformerModel, SessionFactory> | undefined;
  private readonly opened: { model: TransformerModel; cache: SessionFactory | false; session: ForwardSession }[] = [];

  /** @throws DejaDitError INVALID_CONFIG naming the field of the cache */
  constructor(
    private readonly target: HasTransformers,
    private readonly options: RequestSessionsOptions,
  ) {
    this.caches = this.ownCaches();
  }

  open(model: TransformerModel, options: SessionOptions): ForwardSession {
    const cache = (this.caches ? this.caches.get(model) : model.defaultCache) ?? false;
    const session = model.newSession({ ...options, warnings: this.options.warnings, cache });
    this.opened.push({ model, cache, session });
    return session;
  }

  /** What was computed and re-used so far: an entry for each block group of the transformers that were called. */
  get summary(): CacheStats[] {
    const names = new Map(Object.entries(this.target.transformers).map(([name, model]) => [model, name]));
    return this.opened.flatMap(({ model, cache, session }) =>
      cache instanceof CacheHandle
        ? cache.stats(session)
        : [noStats({ name: names.get(model) ?? model.className, model })],
    );
  }

  private ownCaches(): ReadonlyMap<TransformerModel, SessionFactory> | undefined {
    const { cache: given, warnings } = this.options;
    if (given === undefined) return undefined;
    if (given === false) return new Map();
    if (!isFactory(given))
      return new Map(requestCaches(this.target, { given, warnings }).map((cache) => [cache.part.model, cache]));
    const models = Object.values(this.target.transformers);
    if (models.length === 1) return new Map([[models[0]!, given]]);
    throw new DejaDitError('UNSUPPORTED', `runs one transformer, and there are ${models.length}`, { path: 'cache' });
  }
}

const isFactory = (cache: RequestCacheOptions | SessionFactory): cache is SessionFactory =>
  typeof (cache as Partial<SessionFactory> | null)?.newSession === 'function';
