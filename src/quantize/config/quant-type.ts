/** The names of quantisation types, cache-dit's, and what each means here. */
import { DejaDitError, suggest } from '../../errors/errors.ts';
import type { FormatOf, WeightFormat } from '../../weights/formats/weight-format.ts';

/**
 * The quantisation types that are a plain name; those of SVDQuant, `svdq_int4_r32` and the like, are built from their rank.
 * @example
 * for (const quantType of plainQuantTypes) console.log(quantType);
 */
export const plainQuantTypes = [
  'float8_per_row',
  'float8_per_tensor',
  'float8_per_block',
  'float8_weight_only',
  'int8_per_row',
  'int8_per_tensor',
  'int8_weight_only',
  'int4_weight_only',
  'nvfp4',
  'nvfp4_weight_only',
] as const;

type PlainQuantType = (typeof plainQuantTypes)[number];
/** SVDQuant with a branch of rank R; `_dq` does without calibration. */
export type SvdQuantType = `svdq_${'int4' | 'nvfp4'}_r${number}${'' | '_dq'}`;
export type QuantType = PlainQuantType | SvdQuantType;

export interface SvdVariant {
  residual: 'int4' | 'nvfp4';
  rank: number;
  /** Whether activations are observed before weights are quantised. */
  calibrated: boolean;
}

const examples = ['svdq_int4_r32', 'svdq_int4_r32_dq', 'svdq_nvfp4_r32', 'svdq_nvfp4_r32_dq'];
/** Shorter names that cache-dit's command line and server take. */
const aliases: Record<string, PlainQuantType> = {
  float8: 'float8_per_row',
  fp8: 'float8_per_row',
  float8_wo: 'float8_weight_only',
  int8: 'int8_per_row',
  int8_wo: 'int8_weight_only',
  int4: 'int4_weight_only',
  int4_wo: 'int4_weight_only',
  nvfp4_wo: 'nvfp4_weight_only',
};

/** @throws DejaDitError INVALID_CONFIG naming the nearest type */
export function parseQuantType(name: string, path: string): QuantType {
  const key = name.toLowerCase().replace(/-/g, '_');
  const known = aliases[key] ?? plainQuantTypes.find((type) => type === key);
  if (known) return known;
  const rank = Number(svdPattern.exec(key)?.[2] ?? Number.NaN);
  if (rank % 16 === 0) return key as SvdQuantType;
  if (Number.isFinite(rank)) {
    throw new DejaDitError('INVALID_CONFIG', `the rank of '${name}' must be 0 or a multiple of 16`, { path });
  }
  if (/^(bitsandbytes|bnb)/.test(key)) {
    throw new DejaDitError('INVALID_CONFIG', `'${name}' has no kernels here; use int4_weight_only`, { path });
  }
  const types = [...plainQuantTypes, ...examples];
  throw new DejaDitError('INVALID_CONFIG', `unknown type '${name}'; ${suggest(key, types)}`, { path });
}

const svdPattern = /^svdq_(int4|nvfp4)_r(\d+)(_dq)?$/;

/** What an SVDQuant type asks for; undefined for the other types. */
export function svdVariant(type: QuantType): SvdVariant | undefined {
  const [match, residual, rank, dq] = svdPattern.exec(type) ?? [];
  if (match === undefined) return undefined;
  return { residual: residual as SvdVariant['residual'], rank: Number(rank), calibrated: dq === undefined };
}

export interface FormatOptions {
  /** Inputs that share a scale in types with blocks: 32 for int4, and for int8 rows instead of blocks if null. */
  blockSize: FormatOf<'block'>['blockSize'] | null;
  /** Whether inputs of SVDQuant layers are smoothed. */
  smooth: boolean;
}

/** How a layer of this type is stored. */
export function formatOf(type: QuantType, { blockSize, smooth }: FormatOptions): WeightFormat {
  const svd = svdVariant(type);
  if (svd) {
    const residual: FormatOf<'low-rank'>['residual'] =
      svd.residual === 'int4' ? { kind: 'block', bits: 4, blockSize: 64 } : { kind: 'nvfp4', scales: 'row' };
    return { kind: 'low-rank', rank: svd.rank, smooth, residual };
  }
  switch (type as PlainQuantType) {
    case 'float8_per_row':
      return { kind: 'float8', scales: 'row', activations: 'row' };
    case 'float8_per_tensor':
      return { kind: 'float8', scales: 'tensor', activations: 'tensor' };
    case 'float8_per_block':
      return { kind: 'float8', scales: 'tile', activations: 'tile' };
    case 'float8_weight_only':
      return { kind: 'float8', scales: 'row', activations: 'float32' };
    case 'int8_per_row':
      return { kind: 'int8', scales: 'row', activations: 'row' };
    case 'int8_per_tensor':
      return { kind: 'int8', scales: 'tensor', activations: 'tensor' };
    case 'int8_weight_only':
      return blockSize === null
        ? { kind: 'int8', scales: 'row', activations: 'float32' }
        : { kind: 'block', bits: 8, blockSize };
    case 'int4_weight_only':
      return { kind: 'block', bits: 4, blockSize: blockSize ?? 32 };
    // No processor here multiplies 4-bit floats, and rounding activations to them would only lose accuracy.
    case 'nvfp4':
    case 'nvfp4_weight_only':
      return { kind: 'nvfp4', scales: 'tensor' };
  }
}

/** The type with one scale for all that takes the place of one which a layer's shape rules out. */
export function perTensorFallback(type: QuantType): PlainQuantType {
  return type.includes('int') ? 'int8_per_tensor' : 'float8_per_tensor';
}
