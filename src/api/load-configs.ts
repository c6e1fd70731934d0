/**
 * Settings from a YAML or JSON file, or from an object of the same form: the sections of cache-dit's config files and
 * its older flat form. The cache's own sections are checked here, the others by `enableCache`, which takes the result.
 */
import { dirname, resolve } from 'node:path';
import { type CacheOptions, cacheFieldNames, parseCacheConfig, readCache } from '../cache/config/cache-config.ts';
import {
  type CalibratorConfig,
  type CalibratorOptions,
  parseCalibratorConfig,
} from '../cache/config/calibrator-config.ts';
import {
  asObject,
  type Field,
  type Fields,
  flag,
  isOneOf,
  knownNames,
  readFields,
  unknownKey,
} from '../cache/config/fields.ts';
import { DejaDitError } from '../errors/errors.ts';
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

const section = (name: string): Field<Section> => ({ read: (value) => asObject(value, name) });
const sectionFields: Fields<Sections> = {
  cacheConfig: section('cacheConfig'),
  calibratorConfig: section('calibratorConfig'),
  parallelismConfig: section('parallelismConfig'),
  attentionBackend: { read: (value, fail) => (typeof value === 'string' ? value : fail('must be a name')) },
  quantizeConfig: section('quantizeConfig'),
};

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

const anything: Field<unknown> = { read: (value) => value };
const flatFields: Fields<Record<string, unknown>> = {
  calibratorCacheType: anything,
  ...Object.fromEntries(
    FLAT_CALIBRATORS.flatMap(({ enable, encoder, options }) => [
      [enable, flag()],
      [encoder, flag()],
      ...Object.keys(options).map((name) => [name, anything] as const),
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
  const sectioned = Object.keys(content).some((key) => isOneOf(key, knownNames(sectionFields)));
  const sections: Partial<Sections> = sectioned
    ? readFields({ fields: sectionFields, options: content, path: 'configs' })
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
  const unknown = Object.keys(section).find((key) => !isOneOf(key, [...cacheNames, ...calibratorNames]));
  if (unknown !== undefined) throw unknownKey({ key: unknown, known: [...cacheNames, ...calibratorNames], path });

  const entries = Object.entries(section);
  const calibrator = entries.filter(([key]) => isOneOf(key, calibratorNames));
  const cache = entries.filter(([key]) => !isOneOf(key, calibratorNames));
  const options = Object.fromEntries(cache);
  const { cacheType } = parseCacheConfig(options, path);
  const given = readCache({ options, type: cacheType, path }) as CacheOptions;
  return {
    options: { ...given, cacheType },
    calibrator: flatCalibrator(readFields({ fields: flatFields, options: Object.fromEntries(calibrator), path })),
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
