/** A request's cache, in the forms in which clients write it, as `generate` takes it. */
import { loadConfigs } from '../../api/load-configs.ts';
import type { RequestCacheOptions } from '../../cache/run/make-caches.ts';
import { DejaDitError } from '../../errors/errors.ts';
import { isSpellingOf } from '../../errors/options.ts';
import { quote } from '../../errors/printable.ts';

/**
 * @param value true for the default settings, false for no cache, or settings: sections as `enableCache` takes them
 *   (`cacheConfig`, `calibratorConfig`), or cache-dit's flat keys (`Fn_compute_blocks`, `enable_taylorseer`, …), in any spelling
 * @throws DejaDitError INVALID_CONFIG naming the key
 */
export function cacheSettings(value: unknown, path = 'cache'): RequestCacheOptions | false {
  if (value === false) return false;
  if (value === true) return {};
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new DejaDitError('INVALID_CONFIG', `must be true, false or settings, got ${quote(value)}`, { path });
  if (Object.keys(value).length === 0) return {};
  // A file's name would be read here, on the server.
  for (const [key, section] of Object.entries({ ...value, ...nested(value) }))
    if (isSpellingOf(key, ['coefficients']) && typeof section === 'string')
      throw new DejaDitError('INVALID_CONFIG', 'must be the coefficients themselves, not a file', {
        path: `${path}.${key}`,
      });
  const { cacheConfig, calibratorConfig, ...others } = loadConfigs(value as Record<string, unknown>);
  const [other] = Object.entries(others).find(([, section]) => section !== null) ?? [];
  if (other !== undefined)
    throw new DejaDitError('INVALID_CONFIG', 'cannot be set by a request', { path: `${path}.${other}` });
  return { cacheConfig: cacheConfig ?? {}, ...(calibratorConfig === undefined ? {} : { calibratorConfig }) };
}

/** The members of all sections. */
function nested(value: object): Record<string, unknown> {
  return Object.assign({}, ...Object.values(value).filter((section) => typeof section === 'object'));
}
