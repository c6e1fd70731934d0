/** SGLang Diffusion's `enable_cache_dit` and `cache_dit_params` as settings of a request's cache. */
import { stepsMask } from '../../cache/config/steps-mask.ts';
import { DejaDitError, suggest } from '../../errors/errors.ts';

/** The keys that SGLang takes, and no others. */
const known = [
  'Fn_compute_blocks',
  'Bn_compute_blocks',
  'max_warmup_steps',
  'residual_diff_threshold',
  'max_continuous_cached_steps',
  'enable_taylorseer',
  'taylorseer_order',
  'enable_dmd',
  'dmd_history',
  'dmd_rank',
  'dmd_ridge',
  'dmd_svd_precision',
  'scm_preset',
  'scm_compute_bins',
  'scm_cache_bins',
  'scm_policy',
  'secondary',
] as const;

/** Where SGLang's defaults are others than ours. */
const defaults = {
  Fn_compute_blocks: 1,
  Bn_compute_blocks: 0,
  max_warmup_steps: 4,
  residual_diff_threshold: 0.24,
  max_continuous_cached_steps: 3,
};

export interface SglangCache {
  enable_cache_dit?: boolean | null | undefined;
  cache_dit_params?: Readonly<Record<string, unknown>> | null | undefined;
}

type Section = Record<string, unknown>;

/**
 * @returns settings as `cacheSettings` takes them; undefined if the request says nothing of a cache
 * @throws DejaDitError INVALID_CONFIG naming the key
 */
export function sglangCache({
  enable_cache_dit: enabled,
  cache_dit_params: params,
}: SglangCache): Section | false | undefined {
  if (enabled === false) {
    if (params) throw refuse('has no effect with enable_cache_dit false; leave out one of the two');
    return false;
  }
  if (!enabled && !params) return undefined;
  return cacheDitSection(params ?? {}, 'cache_dit_params');
}

/**
 * Keys as SGLang has them in requests and environment variables, as flat settings of cache-dit.
 * @throws DejaDitError INVALID_CONFIG naming the key
 */
export function cacheDitSection(params: Readonly<Section>, path: string): Section {
  const names: readonly string[] = known;
  for (const key of Object.keys(params))
    if (!names.includes(key)) throw refuse(`unknown key '${key}'; ${suggest(key, known)}`, path);
  const { scm_preset, scm_compute_bins, scm_cache_bins, scm_policy, secondary, ...others } = params;
  if (secondary !== undefined && secondary !== null)
    throw refuse(
      'settings of a second expert are for the server (SGLANG_CACHE_DIT_SECONDARY_*), not for requests',
      `${path}.secondary`,
    );
  const mask = maskOf({ scm_preset, scm_compute_bins, scm_cache_bins });
  return {
    ...defaults,
    ...others,
    ...(mask === undefined ? {} : { steps_computation_mask: mask, steps_computation_policy: scm_policy ?? 'dynamic' }),
  };
}

function maskOf({ scm_preset: preset, scm_compute_bins: compute, scm_cache_bins: cache }: Section): unknown {
  if (compute !== undefined && compute !== null)
    return stepsMask({
      computeBins: bins(compute),
      ...(cache === undefined || cache === null ? {} : { cacheBins: bins(cache) }),
    });
  return preset === undefined || preset === null || preset === 'none' ? undefined : preset;
}

/** Lists, or as SGLang writes them in variables: `8,3,3`. */
function bins(value: unknown): number[] {
  const list = typeof value === 'string' ? value.split(',').map(Number) : value;
  if (Array.isArray(list) && list.every((one) => Number.isInteger(one) && one > 0)) return list;
  throw refuse('scm_compute_bins and scm_cache_bins are lists of lengths');
}

function refuse(message: string, path = 'cache_dit_params'): DejaDitError {
  return new DejaDitError('INVALID_CONFIG', message, { path });
}
