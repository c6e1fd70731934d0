/** Changes to a cache's settings for one block list of a model, or from one request to the next. */
import * as z from 'zod';
import { DejaDitError } from '../../errors/errors.ts';
import { type Fields, givenOptions } from '../../errors/options.ts';
import { type CacheConfig, type CacheOptions, parseCacheConfig, readCache } from './cache-config.ts';
import {
  type CalibratorConfig,
  type CalibratorOptions,
  mergeCalibrator,
  parseCalibratorConfig,
} from './calibrator-config.ts';

/** Overrides for one block list of a model with several: only the given fields change. */
export interface ParamsModifier {
  cacheConfig?: CacheOptions;
  calibratorConfig?: CalibratorOptions;
}

const fields = { cacheConfig: z.looseObject({}), calibratorConfig: z.looseObject({}) } satisfies Fields<ParamsModifier>;

/** Both configs with a modifier's fields on top. Unlike in cache-dit either part works without the other. */
export function applyModifier(
  base: { cacheConfig: CacheConfig; calibratorConfig: CalibratorConfig | null },
  modifier: ParamsModifier,
): { cacheConfig: CacheConfig; calibratorConfig: CalibratorConfig | null } {
  const path = 'paramsModifiers';
  const given = givenOptions(fields, modifier, path);
  const cachePath = `${path}.cacheConfig`;
  const cacheOptions = readCache({
    options: given.cacheConfig ?? {},
    type: base.cacheConfig.cacheType,
    path: cachePath,
  });
  const { cacheType: type = base.cacheConfig.cacheType } = cacheOptions;
  if (type !== base.cacheConfig.cacheType) {
    throw new DejaDitError('INVALID_CONFIG', `a modifier cannot make a ${base.cacheConfig.cacheType} a ${type}`, {
      path: `${cachePath}.cacheType`,
    });
  }
  const cacheConfig = parseCacheConfig({ ...base.cacheConfig, ...cacheOptions }, cachePath);
  if (given.calibratorConfig === undefined) return { cacheConfig, calibratorConfig: base.calibratorConfig };
  const calibratorPath = `${path}.calibratorConfig`;
  const calibratorConfig =
    base.calibratorConfig === null
      ? parseCalibratorConfig(given.calibratorConfig, calibratorPath)
      : mergeCalibrator(base.calibratorConfig, { options: given.calibratorConfig, path: calibratorPath });
  return { cacheConfig, calibratorConfig };
}
