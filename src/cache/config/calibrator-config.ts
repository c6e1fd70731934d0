/**
 * What a forecaster ("calibrator" in cache-dit) may be told. The forecasts themselves are in `forecasters/`.
 */
import * as z from 'zod';
import { DejaDitError } from '../../errors/errors.ts';
import {
  alsoCalled,
  asObject,
  type Fields,
  givenOptions,
  integer,
  type Options,
  real,
  unknownKey,
} from '../../errors/options.ts';
import { quote } from '../../errors/printable.ts';
import { type LearnedCoefficients, parseLearnedCoefficients } from '../forecasters/learned.ts';

interface CalibratorCommon {
  /** Forecast the hidden states' stream; false: plain re-use. Default true. */
  enableCalibrator: boolean;
  /** Forecast the encoder stream too. Default true; false in flat config files for TaylorSeer and FoCa. */
  enableEncoderCalibrator: boolean;
  /** What is remembered and forecast: what the middle blocks add (`residual`, the default) or their output. */
  calibratorCacheType: 'residual' | 'hidden_states';
}

/** Taylor extrapolation by backward differences in steps (TaylorSeer, arXiv 2503.06923). */
export interface TaylorSeerCalibratorConfig extends CalibratorCommon {
  type: 'taylorseer';
  /** Highest difference used; 0 is plain re-use. Default 1. */
  order: number;
}

/** Forecast then calibrate (FoCa, arXiv 2508.16211), as cache-dit codes it. */
export interface FoCaCalibratorConfig extends CalibratorCommon {
  type: 'foca';
  /**
   * Computed tensors remembered. Default 10: within 0.2 % of the full recursion on smooth trajectories. (cache-dit keeps
   * 4 tensors, its own forecasts among them.)
   */
  history: number;
}

/** Dynamic mode decomposition of the snapshots (Schmid 2010); Taylor of order 1 until four are equally spaced. */
export interface DMDCalibratorConfig extends CalibratorCommon {
  type: 'dmd';
  /** Snapshots remembered; with fewer than 4 it is Taylor of order 1 for good. Default 6. */
  history: number;
  /** Modes kept; 0: all with a singular value above 1e-4 of the largest. */
  rank: number;
  /** Added to each singular value before it divides. Default 1e-8. */
  ridge: number;
  /** Read for cache-dit's sake: the decomposition works on a tiny Gram matrix and is always exact. */
  svdPrecision: 'low' | 'medium' | 'high';
}

/** Taylor corrected by what the first blocks show of its error on this very step (ours). */
export interface ProbeCalibratorConfig extends CalibratorCommon {
  type: 'probe';
  /** Order of the Taylor forecast that is corrected. Default 1. */
  order: number;
  /** m: computed steps remembered, probe and residual each. At least order + 1. Default 3. */
  snapshots: number;
  /** Ridge, relative to the mean squared change of the probe between snapshots. Default 1e-2. */
  lambda: number;
  /** Share of the correction that is applied. Default 1. */
  gain: number;
}

/** Taylor that takes off what its earlier forecasts turned out to be wrong by (ours). */
export interface CompensatedCalibratorConfig extends CalibratorCommon {
  type: 'compensated';
  /** Order of the Taylor forecast. Default 2. */
  order: number;
  /** Share of the open error that a forecast takes off. Default 0.5. */
  gain: number;
  /** Computed tensors remembered. At least order + 1. Default 5. */
  history: number;
}

/** Weights per step fitted beforehand (`deja-dit calibrate`). */
export interface LearnedCalibratorConfig extends CalibratorCommon {
  type: 'learned';
  coefficients: LearnedCoefficients;
}

export type CalibratorConfig =
  | TaylorSeerCalibratorConfig
  | FoCaCalibratorConfig
  | DMDCalibratorConfig
  | ProbeCalibratorConfig
  | CompensatedCalibratorConfig
  | LearnedCalibratorConfig;
export type CalibratorType = CalibratorConfig['type'];

type WithoutType<C> = Omit<C, 'type'>;
/** `CalibratorConfig` as a user writes it: `type` (or `calibrator_type`) and that type's fields, in any spelling. */
export type CalibratorOptions = { type?: string } & Options<
  WithoutType<TaylorSeerCalibratorConfig> &
    WithoutType<DMDCalibratorConfig> &
    WithoutType<ProbeCalibratorConfig> &
    WithoutType<CompensatedCalibratorConfig> &
    WithoutType<LearnedCalibratorConfig>
>;

const TYPES: Readonly<Record<string, CalibratorType>> = {
  taylorseer: 'taylorseer',
  foca: 'foca',
  dmd: 'dmd',
  probe: 'probe',
  'probe-taylor': 'probe',
  compensated: 'compensated',
  learned: 'learned',
};

const common: Fields<CalibratorCommon> = {
  enableCalibrator: z.boolean(),
  enableEncoderCalibrator: z.boolean(),
  calibratorCacheType: z.enum(['residual', 'hidden_states']),
};
const COMMON = { enableCalibrator: true, enableEncoderCalibrator: true, calibratorCacheType: 'residual' } as const;

const MAX_ORDER = 6;
const order = alsoCalled(integer({ min: 0, max: MAX_ORDER }), 'taylorseerOrder');

const FIELDS: { [T in CalibratorType]: Fields<WithoutType<Extract<CalibratorConfig, { type: T }>>> } = {
  taylorseer: { ...common, order },
  foca: { ...common, history: integer({ min: 2, max: 32 }) },
  dmd: {
    ...common,
    history: alsoCalled(integer({ min: 2, max: 32 }), 'dmdHistory'),
    rank: alsoCalled(integer({ min: 0 }), 'dmdRank'),
    ridge: alsoCalled(real({ min: 0 }), 'dmdRidge'),
    svdPrecision: alsoCalled(z.enum(['low', 'medium', 'high']), 'dmdSvdPrecision'),
  },
  probe: {
    ...common,
    order,
    snapshots: integer({ min: 2, max: 32 }),
    lambda: real({ min: 0 }),
    gain: real(),
  },
  compensated: { ...common, order, gain: real({ min: 0 }), history: integer({ min: 2, max: 32 }) },
  learned: {
    ...common,
    coefficients: z.unknown().transform((file) => parseLearnedCoefficients(file, 'calibratorConfig.coefficients')),
  },
};

const DEFAULTS: { [T in CalibratorType]: Partial<Extract<CalibratorConfig, { type: T }>> } = {
  taylorseer: { order: 1 },
  foca: { history: 10 },
  dmd: { history: 6, rank: 0, ridge: 1e-8, svdPrecision: 'medium' },
  probe: { order: 1, snapshots: 3, lambda: 1e-2, gain: 1 },
  compensated: { order: 2, gain: 0.5, history: 5 },
  learned: {},
};

/**
 * The whole config for some options; `type` is required. Throws `INVALID_CONFIG` with the field and the reason, for an
 * unknown key or type with the nearest known one.
 */
export function parseCalibratorConfig(options: CalibratorOptions, path = 'calibratorConfig'): CalibratorConfig {
  const { type, rest } = splitType(options, path);
  if (type === undefined) {
    throw new DejaDitError('INVALID_CONFIG', `is required: one of ${Object.keys(TYPES).join(', ')}`, {
      path: `${path}.type`,
    });
  }
  return parseOfType({ type, options: rest, path });
}

/** `base` with the given options on top; another `type` starts from that type's defaults. */
export function mergeCalibrator(
  base: CalibratorConfig,
  { options, path }: { options: object; path: string },
): CalibratorConfig {
  const { type = base.type, rest } = splitType(options, path);
  if (type !== base.type) return parseOfType({ type, options: rest, path });
  const given: object = givenOptions(FIELDS[type] as Fields<object>, rest, path);
  const { type: _, ...kept } = base;
  return parseOfType({ type, options: { ...kept, ...given }, path });
}

function splitType(options: object, path: string): { type: CalibratorType | undefined; rest: object } {
  const { type, calibratorType, calibrator_type, ...rest } = asObject(options, path);
  const name = type ?? calibratorType ?? calibrator_type;
  if (name === undefined || name === null) return { type: undefined, rest };
  if (typeof name !== 'string') {
    throw new DejaDitError('INVALID_CONFIG', `must be a name, got ${quote(name)}`, { path: `${path}.type` });
  }
  const known = TYPES[name.toLowerCase()];
  if (known === undefined) throw unknownKey(name, { known: Object.keys(TYPES), path: `${path}.type` });
  return { type: known, rest };
}

function parseOfType(args: { type: CalibratorType; options: object; path: string }): CalibratorConfig {
  const { type, path } = args;
  const given: object = givenOptions(FIELDS[type] as Fields<object>, args.options, path);
  const config = { ...COMMON, ...DEFAULTS[type], ...given, type } as CalibratorConfig;
  if (config.type === 'probe' && config.snapshots <= config.order) {
    throw new DejaDitError(
      'INVALID_CONFIG',
      `order ${config.order} needs ${config.order + 1}, got ${config.snapshots}`,
      {
        path: `${path}.snapshots`,
      },
    );
  }
  if (config.type === 'compensated' && config.history <= config.order) {
    throw new DejaDitError('INVALID_CONFIG', `order ${config.order} needs ${config.order + 1}, got ${config.history}`, {
      path: `${path}.history`,
    });
  }
  if (config.type === 'learned' && config.coefficients === undefined) {
    throw new DejaDitError('INVALID_CONFIG', 'is required: the content of a file that `deja-dit calibrate` wrote', {
      path: `${path}.coefficients`,
    });
  }
  return config;
}
