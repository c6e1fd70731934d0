/**
 * Conversions between float32 and the narrow float formats that checkpoints use.
 * Rounding is to nearest, ties to even, as in PyTorch.
 */
import { DejaDitError } from '../errors/errors.ts';
import type { DType, TypedArray } from './dtype.ts';
import { roundHalfEven } from './rounding.ts';

/** Layout of a float narrower than float32. `overflow` and `nan` are the bits that stand for what is too large and for NaN. */
interface NarrowFormat {
  exponentBits: number;
  mantissaBits: number;
  overflow: number;
  nan: number;
}

const float16: NarrowFormat = { exponentBits: 5, mantissaBits: 10, overflow: 0x7c00, nan: 0x7e00 };
const float8e5m2: NarrowFormat = { exponentBits: 5, mantissaBits: 2, overflow: 0x7c, nan: 0x7f };
/** Has no infinity: PyTorch's cast (since 2.15) gives the largest finite value for all that is too large. */
const float8e4m3fn: NarrowFormat = { exponentBits: 4, mantissaBits: 3, overflow: 0x7e, nan: 0x7f };

/** Any numeric array as float32 (bool as 0 and 1). A float32 array is returned itself, not copied. */
export function toFloat32(dtype: DType, data: TypedArray): Float32Array {
  switch (dtype) {
    case 'float32':
      return data as Float32Array;
    case 'bfloat16':
      return bfloat16ToFloat32(data as Uint16Array);
    case 'float16':
      return lookUp(data as Uint16Array, tableOf(float16));
    case 'float8_e4m3fn':
      return lookUp(data as Uint8Array, tableOf(float8e4m3fn));
    case 'float8_e5m2':
      return lookUp(data as Uint8Array, tableOf(float8e5m2));
    case 'int64':
    case 'uint64':
      return Float32Array.from(data as BigInt64Array, Number);
    default:
      return new Float32Array(data as Int8Array);
  }
}

/** bfloat16 is the upper half of a float32, so widening is a shift. */
export function bfloat16ToFloat32(bits: Uint16Array): Float32Array {
  const out = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = bits[i]! << 16;
  return new Float32Array(out.buffer);
}

/** float32 rounded to the given narrow type, as raw bits. A float32 array is returned itself, not copied. */
export function fromFloat32(dtype: DType, values: Float32Array): TypedArray {
  switch (dtype) {
    case 'float32':
      return values;
    case 'float64':
      return new Float64Array(values);
    case 'bfloat16':
      return float32ToBfloat16(values);
    case 'float16':
      return narrow(values, float16, new Uint16Array(values.length));
    case 'float8_e4m3fn':
      return narrow(values, float8e4m3fn, new Uint8Array(values.length));
    case 'float8_e5m2':
      return narrow(values, float8e5m2, new Uint8Array(values.length));
    default:
      throw new DejaDitError('UNSUPPORTED', `cannot round float32 to ${dtype}`);
  }
}

const infinityBits = 0x7f800000;

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

function float32ToBfloat16(values: Float32Array): Uint16Array {
  const bits = bitsOf(values);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < out.length; i++) {
    const word = bits[i]!;
    // Half of the dropped part less one, plus the lowest kept bit: ties go to even, carries reach the exponent.
    out[i] = (word & 0x7fffffff) > infinityBits ? 0x7fc0 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return out;
}

function narrow<Out extends Uint8Array | Uint16Array>(values: Float32Array, format: NarrowFormat, out: Out): Out {
  const { exponentBits, mantissaBits, overflow, nan } = format;
  const bits = bitsOf(values);
  const bias = 2 ** (exponentBits - 1) - 1;
  const dropped = 23 - mantissaBits;
  const half = 2 ** (dropped - 1);
  const rebias = (127 - bias) << mantissaBits;
  const smallestNormal = (128 - bias) << 23;
  const unitsPerOne = 2 ** (bias - 1 + mantissaBits);
  for (let i = 0; i < out.length; i++) {
    const word = bits[i]!;
    const magnitude = word & 0x7fffffff;
    let rounded: number;
    if (magnitude > infinityBits) rounded = nan;
    else if (magnitude >= smallestNormal) {
      rounded = ((magnitude + half - 1 + ((magnitude >>> dropped) & 1)) >>> dropped) - rebias;
      if (rounded > overflow) rounded = overflow;
    } else rounded = roundHalfEven(Math.abs(values[i]!) * unitsPerOne);
    out[i] = rounded | ((word >>> 31) << (exponentBits + mantissaBits));
  }
  return out;
}

function lookUp(bits: Uint16Array | Uint8Array, table: Float32Array): Float32Array {
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = table[bits[i]!]!;
  return out;
}

const tables = new Map<NarrowFormat, Float32Array>();

/** The value of every bit pattern of a format. */
function tableOf(format: NarrowFormat): Float32Array {
  let table = tables.get(format);
  if (table) return table;
  const { exponentBits, mantissaBits, overflow } = format;
  const hasInfinity = overflow % 2 ** mantissaBits === 0;
  const signBit = 2 ** (exponentBits + mantissaBits);
  const bias = 2 ** (exponentBits - 1) - 1;
  table = new Float32Array(2 * signBit);
  for (let bits = 0; bits < signBit; bits++) {
    const exponent = bits >> mantissaBits;
    const fraction = (bits % 2 ** mantissaBits) / 2 ** mantissaBits;
    let value = exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias);
    if (bits > overflow) value = NaN;
    else if (bits === overflow && hasInfinity) value = Infinity;
    table[bits] = value;
    table[bits + signBit] = -value;
  }
  tables.set(format, table);
  return table;
}
