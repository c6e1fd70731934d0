/**
 * Settings from a YAML or JSON file, or from an object of the same form: the sections of cache-dit's config files and
 * its older flat form. The cache's own sections are checked here, the others by `enableCache`, which takes the result.
 */
import { dirname, resolve } from 'node:path';
import * as z from 'zod';
import { type CacheOptions, cacheFieldNames, parseCacheConfig, readCache } from '../cache/config/cache-config.ts';
import {
  type CalibratorConfig,
  type CalibratorOptions,
  parseCalibratorConfig,
} from '../cache/config/calibrator-config.ts';
import { DejaDitError } from '../errors/errors.ts';
import { asObject, type Fields, givenOptions, isSpellingOf, knownNames, unknownKey } from '../errors/options.ts';
import { readYamlFileSync } from '../files/yaml.ts';

/** Settings as `enableCache` takes them. */
export interface LoadedConfigs {
  /** What is given, checked; null if the file has other sections but none for the cache: nothing is cached then. */
  cacheConfig: CacheOptions | null;
  /** Null if forecasters are switched off, absent if none is named. */
  calibratorConfig?: (CalibratorConfig & CalibratorOptions) | null;
  parallelismConfig: Record<string, unknown> | null;
  attentionBackend: string | null;
  quantizeConfig: Record<string, unknown> | null;
}

type Section = Record<string, unknown>;
interface Sections {
  cacheConfig: Section;
  calibratorConfig: Section;
  parallelismConfig: Section;
  attentionBackend: string;
  quantizeConfig: Section;
}

const section = z.looseObject({});
const sectionFields = {
  cacheConfig: section,
  calibratorConfig: section,
  parallelismConfig: section,
  attentionBackend: z.string(),
  quantizeConfig: section,
} satisfies Fields<Sections>;

/**
 * Calibrator options where cache-dit keeps them, among the cache's: the switch of each type, its option for the encoder
 * stream with cache-dit's default, and the names of the rest as `CalibratorOptions`.
 */
const FLAT_CALIBRATORS = [
  {
    type: 'taylorseer',
    enable: 'enableTaylorseer',
    encoder: 'enableEncoderTaylorseer',
    encoderDefault: false,
    options: { taylorseerOrder: 'order', taylorseerCacheType: 'calibratorCacheType' },
  },
  {
    type: 'dmd',
    enable: 'enableDmd',
    encoder: 'enableEncoderDmd',
    encoderDefault: true,
    options: { dmdHistory: 'history', dmdRank: 'rank', dmdRidge: 'ridge', dmdSvdPrecision: 'svdPrecision' },
  },
  { type: 'foca', enable: 'enableFoca', encoder: 'enableEncoderFoca', encoderDefault: false, options: {} },
] as const;

const flatFields: Record<string, z.ZodType> = {
  calibratorCacheType: z.unknown(),
  ...Object.fromEntries(
    FLAT_CALIBRATORS.flatMap(({ enable, encoder, options }) => [
      [enable, z.boolean()],
      [encoder, z.boolean()],
      ...Object.keys(options).map((name) => [name, z.unknown()] as const),
    ]),
  ),
};

/**
 * Reads `cache_config`, `calibrator_config`, `parallelism_config`, `attention_backend` and `quantize_config`, in this
 * or camelCase spelling. Without any of them the whole object is taken for cache options: the form of older files.
 * Cache options may hold cache-dit's calibrator keys (`enable_taylorseer`, `taylorseer_order`, `enable_dmd`, ...) and a
 * mask policy by name. `coefficients` of a learned calibrator may name a JSON file, relative to the config file.
 * Throws `NOT_FOUND`, `INVALID_FILE` or `INVALID_CONFIG` with file, field and reason; an unknown key is an error.
 * @example
 * enableCache(pipe, loadConfigs('cache.yaml'));
 */
export function loadConfigs(pathOrObject: string | Readonly<Section>): LoadedConfigs {
  if (typeof pathOrObject !== 'string') return readConfigs(asObject(pathOrObject, 'configs'), '.');
  const content = readYamlFileSync(pathOrObject);
  try {
    return readConfigs(asObject(content, 'configs'), dirname(pathOrObject));
  } catch (error) {
    if (!(error instanceof DejaDitError)) throw error;
    throw new DejaDitError(error.code, error.message, { path: pathOrObject, cause: error });
  }
}

function readConfigs(content: Section, folder: string): LoadedConfigs {
  const sectioned = Object.keys(content).some((key) => isSpellingOf(key, knownNames(sectionFields)));
  const sections: Partial<Sections> = sectioned
    ? givenOptions<Sections>(sectionFields, content, 'configs')
    : { cacheConfig: content };
  const { cacheConfig, calibratorConfig } = sections;
  const cache = cacheConfig && readCacheSection(cacheConfig);
  if (cache?.calibrator && calibratorConfig) {
    const reason = `cacheConfig names one too (${cache.calibrator.type}): keep one of the two`;
    throw new DejaDitError('INVALID_CONFIG', reason, { path: 'calibratorConfig' });
  }
  const calibrator = calibratorConfig ? withCoefficients(calibratorConfig, folder) : cache?.calibrator;
  const parsed = calibrator && (parseCalibratorConfig(calibrator) as CalibratorConfig & CalibratorOptions);
  return {
    cacheConfig: cache?.options ?? null,
    ...(calibrator === undefined ? {} : { calibratorConfig: parsed }),
    parallelismConfig: sections.parallelismConfig ?? null,
    attentionBackend: sections.attentionBackend ?? null,
    quantizeConfig: sections.quantizeConfig ?? null,
  };
}

/** Splits cache options and calibrator options, which cache-dit keeps in one section. */
function readCacheSection(section: Section): {
  options: CacheOptions;
  calibrator: CalibratorOptions | null | undefined;
} {
  const path = 'cacheConfig';
  const [cacheNames, calibratorNames] = [cacheFieldNames(), knownNames(flatFields)];
  const unknown = Object.keys(section).find((key) => !isSpellingOf(key, [...cacheNames, ...calibratorNames]));
  if (unknown !== undefined) throw unknownKey(unknown, { known: [...cacheNames, ...calibratorNames], path });

  const entries = Object.entries(section);
  const calibrator = entries.filter(([key]) => isSpellingOf(key, calibratorNames));
  const cache = entries.filter(([key]) => !isSpellingOf(key, calibratorNames));
  const options = Object.fromEntries(cache);
  const { cacheType } = parseCacheConfig(options, path);
  const given = readCache({ options, type: cacheType, path }) as CacheOptions;
  return {
    options: { ...given, cacheType },
    calibrator: flatCalibrator(givenOptions(flatFields, Object.fromEntries(calibrator), path)),
  };
}

/**
 * What the flat keys ask for; null if they switch off what they name. A key whose type is neither switched on nor off would do
 * nothing: an error.
 */
function flatCalibrator(flat: Record<string, unknown>): CalibratorOptions | null | undefined {
  const fail = (reason: string) => new DejaDitError('INVALID_CONFIG', reason, { path: 'cacheConfig' });
  const enabled = FLAT_CALIBRATORS.filter(({ enable }) => flat[enable] === true);
  if (enabled.length > 1) throw fail(`${enabled.map(({ enable }) => enable).join(' and ')} are mutually exclusive`);
  for (const { enable, encoder, options } of FLAT_CALIBRATORS) {
    const idle = [encoder, ...Object.keys(options)].find((name) => flat[enable] === undefined && name in flat);
    if (idle !== undefined) throw fail(`${idle} does nothing without ${enable}: true`);
  }
  const [chosen] = enabled;
  if (chosen === undefined) return FLAT_CALIBRATORS.some(({ enable }) => enable in flat) ? null : undefined;
  const renamed = Object.entries<string>(chosen.options).map(([flatName, name]) => [name, flat[flatName]]);
  return {
    calibratorCacheType: flat['calibratorCacheType'],
    ...Object.fromEntries(renamed.filter(([, value]) => value !== undefined)),
    type: chosen.type,
    enableEncoderCalibrator: flat[chosen.encoder] ?? chosen.encoderDefault,
  } as CalibratorOptions;
}

function withCoefficients(options: Section, folder: string): Section {
  const { coefficients } = options;
  return typeof coefficients === 'string'
    ? { ...options, coefficients: readYamlFileSync(resolve(folder, coefficients)) }
    : options;
}
