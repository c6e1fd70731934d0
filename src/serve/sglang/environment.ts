/** SGLang Diffusion's variables of the cache, as `enableCache` takes them: `SGLANG_CACHE_DIT_ENABLED`, `_FN`, …, and `_SECONDARY_…` for a second expert. */
import type { EnableCacheOptions } from '../../api/enable-cache.ts';
import { loadConfigs } from '../../api/load-configs.ts';
import type { ParamsModifier } from '../../cache/config/params-modifier.ts';
import { DejaDitError } from '../../errors/errors.ts';
import { cacheDitSection } from './cache-params.ts';

type Environment = Readonly<Record<string, string | undefined>>;

const prefix = 'SGLANG_CACHE_DIT_';

/** Keys of `cache_dit_params` by the ends of variables' names, and what their texts stand for. */
const variables: Readonly<Record<string, readonly [key: string, read: (text: string) => unknown]>> = {
  FN: ['Fn_compute_blocks', Number],
  BN: ['Bn_compute_blocks', Number],
  WARMUP: ['max_warmup_steps', Number],
  RDT: ['residual_diff_threshold', Number],
  MC: ['max_continuous_cached_steps', Number],
  TAYLORSEER: ['enable_taylorseer', isOn],
  TS_ORDER: ['taylorseer_order', Number],
  DMD: ['enable_dmd', isOn],
  DMD_HISTORY: ['dmd_history', Number],
  DMD_RANK: ['dmd_rank', Number],
  DMD_RIDGE: ['dmd_ridge', Number],
  DMD_SVD_PRECISION: ['dmd_svd_precision', String],
  SCM_PRESET: ['scm_preset', String],
  SCM_COMPUTE_BINS: ['scm_compute_bins', String],
  SCM_CACHE_BINS: ['scm_cache_bins', String],
  SCM_POLICY: ['scm_policy', String],
};

/** Options of a forecaster that is not switched on are left alone, as there. */
const needs = {
  taylorseer_order: 'enable_taylorseer',
  dmd_history: 'enable_dmd',
  dmd_rank: 'enable_dmd',
  dmd_ridge: 'enable_dmd',
  dmd_svd_precision: 'enable_dmd',
};

/**
 * @returns undefined unless `SGLANG_CACHE_DIT_ENABLED` is on
 * @throws DejaDitError INVALID_CONFIG naming the variable
 */
export function sglangEnvironment(env: Environment): EnableCacheOptions | undefined {
  if (!isOn(env[`${prefix}ENABLED`] ?? '')) return undefined;
  const first = settings(env, prefix);
  const second = settings(env, `${prefix}SECONDARY_`);
  return {
    ...loaded(first),
    // The first expert's settings hold for what the second one's do not say.
    ...(Object.keys(second).length > 0 ? { paramsModifiers: [{}, loaded({ ...first, ...second })] } : {}),
  };
}

function loaded(params: Record<string, unknown>): ParamsModifier {
  const { cacheConfig, calibratorConfig } = loadConfigs(cacheDitSection(params, prefix));
  return { cacheConfig: cacheConfig ?? {}, ...(calibratorConfig ? { calibratorConfig } : {}) };
}

function settings(env: Environment, start: string): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const [end, [key, read]] of Object.entries(variables)) {
    const text = env[start + end];
    if (text === undefined || text === '') continue;
    const value = read(text);
    if (Number.isNaN(value))
      throw new DejaDitError('INVALID_CONFIG', `must be a number, got '${text}'`, { path: start + end });
    found[key] = value;
  }
  for (const [key, needed] of Object.entries(needs)) if (!found[needed]) delete found[key];
  return found;
}

function isOn(text: string): boolean {
  return ['1', 'true', 'yes', 'on'].includes(text.toLowerCase());
}
