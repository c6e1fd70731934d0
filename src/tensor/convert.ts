/**
 * Conversions between float32 and the narrow float formats that checkpoints use.
 * Rounding is to nearest, ties to even, as in PyTorch.
 */
import { DejaDitError } from '../errors/errors.ts';
import type { DType, TypedArray } from './dtype.ts';

/** Any numeric array as float32 (bool as 0 and 1). */
export function toFloat32(dtype: DType, data: TypedArray): Float32Array {
  switch (dtype) {
    case 'float32':
      return data as Float32Array;
    case 'bfloat16':
      return bfloat16ToFloat32(data as Uint16Array);
    case 'float16':
      return lookUp(data as Uint16Array, float16Table());
    case 'float8_e4m3fn':
      return lookUp(data as Uint8Array, float8Table(4, 3));
    case 'float8_e5m2':
      return lookUp(data as Uint8Array, float8Table(5, 2));
    case 'int64':
    case 'uint64':
      return Float32Array.from(data as BigInt64Array, Number);
    default:
      return Float32Array.from(data as Int8Array);
  }
}

/** bfloat16 is the upper half of a float32, so widening is a shift. */
export function bfloat16ToFloat32(bits: Uint16Array): Float32Array {
  const out = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = bits[i]! << 16;
  return new Float32Array(out.buffer);
}

/** float32 rounded to the given narrow type, as raw bits. */
export function fromFloat32(dtype: DType, values: Float32Array): TypedArray {
  switch (dtype) {
    case 'float32':
      return values;
    case 'float64':
      return Float64Array.from(values);
    case 'bfloat16':
      return Uint16Array.from(values, toBfloat16Bits);
    case 'float16':
      return Uint16Array.from(values, (v) => toNarrowBits(v, 5, 10, true));
    case 'float8_e4m3fn':
      return Uint8Array.from(values, (v) => toNarrowBits(v, 4, 3, false));
    case 'float8_e5m2':
      return Uint8Array.from(values, (v) => toNarrowBits(v, 5, 2, true));
    default:
      throw new DejaDitError('UNSUPPORTED', `cannot round float32 to ${dtype}`);
  }
}

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

function toBfloat16Bits(value: number): number {
  if (Number.isNaN(value)) return 0x7fc0;
  scratch[0] = value;
  const bits = scratchBits[0]!;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/**
 * Rounds to a small IEEE-like format. Without infinities (`e4m3fn`) the all-ones pattern is NaN and values past the
 * largest finite number become NaN, which is what PyTorch's cast does; with them they become infinite.
 */
function toNarrowBits(value: number, exponentBits: number, mantissaBits: number, hasInfinity: boolean): number {
  const bias = 2 ** (exponentBits - 1) - 1;
  const sign = value < 0 || Object.is(value, -0) ? 1 << (exponentBits + mantissaBits) : 0;
  const allOnes = (1 << (exponentBits + mantissaBits)) - 1;
  const infinity = ((1 << exponentBits) - 1) << mantissaBits;
  const notANumber = hasInfinity ? infinity | (1 << (mantissaBits - 1)) : allOnes;
  if (Number.isNaN(value)) return sign | notANumber;
  const magnitude = Math.abs(value);
  const overflow = sign | (hasInfinity ? infinity : notANumber);
  if (magnitude === Infinity) return overflow;
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), 1 - bias);
  const step = 2 ** (exponent - mantissaBits);
  const units = roundHalfEven(magnitude / step);
  // `units` carries the implicit bit for normal numbers, and rounding up past it carries into the exponent by itself.
  const bits = units + ((exponent + bias - 1) << mantissaBits);
  return bits >= (hasInfinity ? infinity : allOnes) ? overflow : sign | bits;
}

function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

function lookUp(bits: Uint16Array | Uint8Array, table: Float32Array): Float32Array {
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = table[bits[i]!]!;
  return out;
}

const tables = new Map<string, Float32Array>();

function float16Table(): Float32Array {
  return narrowTable(5, 10, true);
}

function float8Table(exponentBits: 4 | 5, mantissaBits: 3 | 2): Float32Array {
  return narrowTable(exponentBits, mantissaBits, exponentBits === 5);
}

function narrowTable(exponentBits: number, mantissaBits: number, hasInfinity: boolean): Float32Array {
  const key = `${exponentBits}.${mantissaBits}`;
  let table = tables.get(key);
  if (table) return table;
  const magnitudeBits = exponentBits + mantissaBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  const topExponent = (1 << exponentBits) - 1;
  table = new Float32Array(2 << magnitudeBits);
  for (let bits = 0; bits < 1 << magnitudeBits; bits++) {
    const exponent = bits >> mantissaBits;
    const mantissa = bits & ((1 << mantissaBits) - 1);
    let value =
      exponent === 0
        ? mantissa * 2 ** (1 - bias - mantissaBits)
        : (1 + mantissa / 2 ** mantissaBits) * 2 ** (exponent - bias);
    if (hasInfinity && exponent === topExponent) value = mantissa === 0 ? Infinity : NaN;
    if (!hasInfinity && bits === (1 << magnitudeBits) - 1) value = NaN;
    table[bits] = value;
    table[bits + (1 << magnitudeBits)] = -value;
  }
  tables.set(key, table);
  return table;
}
