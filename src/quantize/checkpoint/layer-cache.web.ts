/** Pages keep no quantised layers for the next time. */
import { DejaDitError } from '../../errors/errors.ts';

/** No folder. */
export function defaultCacheDir(): string {
  return '';
}

/** @throws DejaDitError `UNSUPPORTED`: somebody named a folder */
export async function cachedLayer<T>(
  { folder }: { folder: string; weight: unknown; format: unknown; options: unknown },
  _make: () => Promise<T>,
): Promise<T> {
  throw new DejaDitError('UNSUPPORTED', `a page has no folder '${folder}'; leave diskCache out`, { path: 'diskCache' });
}
