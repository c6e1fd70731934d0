/** vLLM-Omni's `--cache-backend` and `--cache-config`, as `enableCache` takes them. */
import type { EnableCacheOptions } from '../../api/enable-cache.ts';
import { loadConfigs } from '../../api/load-configs.ts';
import { DejaDitError } from '../../errors/errors.ts';
import { parseJson } from '../../files/json.ts';

/** vLLM-Omni's defaults. */
const defaults = {
  Fn_compute_blocks: 1,
  Bn_compute_blocks: 0,
  max_warmup_steps: 4,
  max_continuous_cached_steps: 3,
  residual_diff_threshold: 0.24,
};

/** Keys that cache-dit has under other names. */
const renamed: Readonly<Record<string, string>> = {
  scm_steps_mask_policy: 'steps_computation_mask',
  scm_steps_policy: 'steps_computation_policy',
};

export interface VllmCacheFlags {
  cacheBackend?: string | undefined;
  /** JSON. */
  cacheConfig?: string | undefined;
}

/**
 * @returns undefined for `none`, and where nothing is said of a cache
 * @throws DejaDitError for another backend, a config without one, or a key that the backend does not have
 */
export function vllmCache({
  cacheBackend: backend,
  cacheConfig: json,
}: VllmCacheFlags): EnableCacheOptions | undefined {
  if (backend === undefined || backend === 'none') {
    if (json === undefined) return undefined;
    throw new DejaDitError('INVALID_ARGUMENT', '--cache-config has no effect without --cache-backend cache_dit');
  }
  if (backend !== 'cache_dit')
    throw new DejaDitError('UNSUPPORTED', `there is no such cache here, got '${backend}'; known: none, cache_dit`, {
      path: '--cache-backend',
    });
  const given: Record<string, unknown> = json === undefined ? {} : parseJson(json, { path: '--cache-config' });
  const settings: Record<string, unknown> = { ...defaults };
  for (const [key, value] of Object.entries(given)) {
    // vLLM-Omni has the keys of all backends in one config, null where they are not meant.
    if (value === null) continue;
    if (/^(mag_|sea_|rel_l1)/.test(key))
      throw new DejaDitError('INVALID_CONFIG', 'is of another backend than cache_dit', {
        path: `--cache-config ${key}`,
      });
    settings[renamed[key] ?? key] = value;
  }
  const { cacheConfig, calibratorConfig } = loadConfigs(settings);
  return { cacheConfig, ...(calibratorConfig ? { calibratorConfig } : {}) };
}
