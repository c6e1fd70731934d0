/** A server's cache, in whichever of the ways it is told: ours, vLLM-Omni's, SGLang Diffusion's flags or variables; in one of them. */
import type { EnableCacheOptions } from '../../api/enable-cache.ts';
import { loadConfigs } from '../../api/load-configs.ts';
import { DejaDitError } from '../../errors/errors.ts';
import { parseJson } from '../../files/json.ts';
import { cacheDitSection } from '../../serve/sglang/cache-params.ts';
import { sglangEnvironment } from '../../serve/sglang/environment.ts';
import { type VllmCacheFlags, vllmCache } from '../../serve/vllm-omni/cache-config.ts';
import type { CacheFlags } from './cache-flags.ts';
import { cacheOptions } from './cache-options.ts';

export interface ServerCacheFlags extends CacheFlags, VllmCacheFlags {
  cacheDitConfig?: string;
  enableCacheDit?: boolean;
  cacheDitParams?: string;
}

/** @throws DejaDitError INVALID_ARGUMENT if two of the ways are taken; else as whoever reads it */
export async function serverCache(flags: ServerCacheFlags, env = process.env): Promise<EnableCacheOptions | undefined> {
  const { cacheDitConfig: file, enableCacheDit, cacheDitParams: params } = flags;
  const ways: [name: string, options: EnableCacheOptions | undefined][] = [
    ['--cache', await cacheOptions(flags)],
    ['--cache-backend', vllmCache(flags)],
    ['--cache-dit-config', file === undefined ? undefined : loadConfigs(file)],
    ['--enable-cache-dit', enableCacheDit || params !== undefined ? fromParams(params) : undefined],
    ['SGLANG_CACHE_DIT_ENABLED', sglangEnvironment(env)],
  ];
  const [first, second] = ways.filter(([, options]) => options !== undefined);
  if (first && second)
    throw new DejaDitError('INVALID_ARGUMENT', `${first[0]} and ${second[0]} both set the cache; keep one of the two`);
  return first?.[1];
}

function fromParams(json = '{}'): EnableCacheOptions {
  const params: Record<string, unknown> = parseJson(json, { path: '--cache-dit-params' });
  const { cacheConfig, calibratorConfig } = loadConfigs(cacheDitSection(params, '--cache-dit-params'));
  return { cacheConfig, ...(calibratorConfig ? { calibratorConfig } : {}) };
}
