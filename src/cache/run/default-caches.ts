/** The caches of requests that name none of their own: each is kept by its model, as `defaultCache`. */
import { type AdapterPart, type Cacheable, getAdapter } from '../adapters/block-adapter.ts';
import { CacheHandle } from './cache-handle.ts';

/** The transformers of a target with their default caches, where one is enabled. */
export function defaultCaches(target: Cacheable): { part: AdapterPart; cache: CacheHandle | undefined }[] {
  return getAdapter(target).parts.map((part) => {
    const { defaultCache } = part.model;
    return { part, cache: defaultCache instanceof CacheHandle ? defaultCache : undefined };
  });
}

/** @param caches transformers that none of them is for have none from now on */
export function setDefaultCaches(target: Cacheable, caches: readonly CacheHandle[]): void {
  for (const { model } of getAdapter(target).parts)
    model.setDefaultCache(caches.find(({ part }) => part.model === model));
}
