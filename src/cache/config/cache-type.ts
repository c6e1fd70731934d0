/** Which cache an option means, and lists of block indices. */
import { DejaDitError, nearestName } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';

/**
 * DBCache skips the middle blocks of a step together, DBPrune decides block by block, EasyCache skips whole steps and needs to
 * know no blocks, NONE caches nothing.
 */
export type CacheType = 'DBCache' | 'DBPrune' | 'EasyCache' | 'NONE';

const SPELLINGS: Readonly<Record<string, CacheType>> = {
  dual_block_cache: 'DBCache',
  db_cache: 'DBCache',
  dbcache: 'DBCache',
  db: 'DBCache',
  dynamic_block_prune: 'DBPrune',
  db_prune: 'DBPrune',
  dbprune: 'DBPrune',
  dbp: 'DBPrune',
  easy_cache: 'EasyCache',
  easycache: 'EasyCache',
  ec: 'EasyCache',
  none: 'NONE',
  no_cache: 'NONE',
  nocache: 'NONE',
  nc: 'NONE',
};

/**
 * The cache type that a name stands for, in any case: `db`, `DBCache`, `dual_block_cache`, ...; absent means `NONE`.
 * Throws `INVALID_CONFIG` for other names. (cache-dit takes any unknown name for NONE: a typo switches caching off.)
 * @example
 * cacheType('dual_block_cache'); // 'DBCache'
 */
export function cacheType(name: string | null | undefined, path = 'cacheType'): CacheType {
  if (name === null || name === undefined) return 'NONE';
  const known = SPELLINGS[name.toLowerCase()];
  if (known !== undefined) return known;
  const nearest = nearestName(name, Object.keys(SPELLINGS));
  const meant = nearest === undefined ? '' : `did you mean ${SPELLINGS[nearest]}? `;
  const hint = `${meant}known: DBCache, DBPrune, EasyCache, NONE`;
  throw new DejaDitError('INVALID_CONFIG', `unknown cache type ${quote(name)}; ${hint}`, { path });
}

/**
 * Block indices from `start` to `end` (exclusive) in steps of `step`, always with the first and the last block of the
 * list: 0 and `end - 1`. Empty if the range is (`end <= 0` or `start > end`). For `DBPruneConfig.nonPruneBlockIds`.
 * (cache-dit returns an empty list for its own default `step` of 1.)
 * @example
 * blockRange(0, 12, 4); // [0, 4, 8, 11]
 */
export function blockRange(start: number, end: number, step = 1): number[] {
  if (![start, end, step].every(Number.isSafeInteger) || start < 0 || step < 1) {
    throw new DejaDitError(
      'INVALID_ARGUMENT',
      `blockRange needs integers start >= 0 and step >= 1, got (${start}, ${end}, ${step})`,
    );
  }
  if (start > end || end <= 0) return [];
  const ids = new Set([0, end - 1]);
  for (let id = start; id < end; id += step) ids.add(id);
  return [...ids].sort((a, b) => a - b);
}
