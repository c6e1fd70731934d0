/**
 * Seeded random numbers that equal PyTorch's on the CPU, so that a seed means the same initial noise as in Diffusers.
 * The order in which words are drawn is part of the contract: it differs by element type and by whether there are
 * fewer than 16 values. Matches PyTorch 2.15 on a machine with AVX2.
 */
import { DejaDitError } from '../errors/errors.ts';
import { fromFloat32 } from './convert.ts';
import type { DType } from './dtype.ts';
import { MersenneTwister } from './mersenne-twister.ts';
import { logSingle, scaledCosSin } from './single-math.ts';
import { type Shape, sizeOf, Tensor } from './tensor.ts';

export type RandomDType = Extract<DType, 'float32' | 'float64' | 'bfloat16' | 'float16'>;

const twoPi = 2 * Math.PI;
const twoPiSingle = Math.fround(twoPi);
/** Normals are made in blocks: the first half of a block's uniforms give radii, the second half angles. */
const block = 16;

/** What adds noise draws it from here: one generator for a whole batch, or one per sample. */
export interface NoiseStream {
  /** Standard normal values. */
  randn(shape: Shape, dtype?: RandomDType): Tensor;
}

/**
 * A stream of random numbers. It is stateful: two draws of 8 are not one draw of 16.
 * @example
 * const noise = new Generator(7).randn([1, 16, 16, 16]);
 */
export class Generator implements NoiseStream {
  readonly #engine: MersenneTwister;
  #spareNormal: number | undefined;

  /** @param seed any integer; as in PyTorch only its low 32 bits count */
  constructor(seed: number | bigint) {
    if (typeof seed === 'number' && !Number.isSafeInteger(seed)) {
      throw new DejaDitError('INVALID_ARGUMENT', `seed must be an integer, got ${seed}`);
    }
    this.#engine = new MersenneTwister(Number(BigInt.asUintN(32, BigInt(seed))));
  }

  /** Standard normal values, as `torch.randn(shape, dtype=dtype, generator=...)`. */
  randn(shape: Shape, dtype: RandomDType = 'float32'): Tensor {
    const size = countOf(shape);
    if (dtype === 'float64') return new Tensor(dtype, this.#normals64(size), shape);
    const wide = dtype === 'float32' ? this.#normals32(size) : this.#normalsBlockwise(size);
    return new Tensor(dtype, fromFloat32(dtype, wide), shape);
  }

  /** Uniform values in [0, 1), as `torch.rand`. */
  rand(shape: Shape, dtype: RandomDType = 'float32'): Tensor {
    const size = countOf(shape);
    if (dtype === 'float64') return new Tensor(dtype, this.#fill53(new Float64Array(size)), shape);
    const wide = this.#fill24(new Float32Array(size));
    // What a half type would round up to 1 becomes 0, which keeps the interval half open.
    const firstToRoundUp = dtype === 'bfloat16' ? 1 - 2 ** -9 : dtype === 'float16' ? 1 - 2 ** -12 : 1;
    for (let i = 0; i < size; i++) if (wide[i]! >= firstToRoundUp) wide[i] = 0;
    return new Tensor(dtype, fromFloat32(dtype, wide), shape);
  }

  /** Integers in [low, high) as int64, as `torch.randint`. Both bounds must be safe integers. */
  randint({ low = 0, high, shape }: { low?: number; high: number; shape: Shape }): Tensor {
    if (!Number.isSafeInteger(low) || !Number.isSafeInteger(high) || high <= low) {
      throw new DejaDitError('INVALID_ARGUMENT', `randint needs integers low < high, got low ${low} and high ${high}`);
    }
    const base = BigInt(low);
    const range = BigInt(high) - base;
    // PyTorch draws wider words where the remainder of 32 bits would be too uneven.
    const word = range < 2n ** 28n ? () => BigInt(this.#engine.next()) : () => this.#word64();
    const values = BigInt64Array.from({ length: countOf(shape) }, () => base + (word() % range));
    return new Tensor('int64', values, shape);
  }

  /** A permutation of 0 to n - 1 as int64, as `torch.randperm(n)`. */
  randperm(n: number): Tensor {
    // Past this size PyTorch draws wider words.
    const limit = 2 ** 32 / 20;
    if (!Number.isSafeInteger(n) || n < 0 || n >= limit) {
      throw new DejaDitError('INVALID_ARGUMENT', `randperm needs an integer from 0 to ${Math.floor(limit)}, got ${n}`);
    }
    const values = BigInt64Array.from({ length: n }, (_, i) => BigInt(i));
    for (let i = 0; i < n - 1; i++) {
      const j = i + (this.#engine.next() % (n - i));
      [values[i], values[j]] = [values[j]!, values[i]!];
    }
    return new Tensor('int64', values, [n]);
  }

  #fill24(out: Float32Array): Float32Array {
    for (let i = 0; i < out.length; i++) out[i] = (this.#engine.next() & 0xffffff) * 2 ** -24;
    return out;
  }

  #fill53(out: Float64Array): Float64Array {
    for (let i = 0; i < out.length; i++) out[i] = this.#uniform53();
    return out;
  }

  /** 53 bits of two words, the high one first. */
  #uniform53(): number {
    const high = this.#engine.next() & 0x1fffff;
    return (high * 2 ** 32 + this.#engine.next()) * 2 ** -53;
  }

  #word64(): bigint {
    const high = BigInt(this.#engine.next());
    return (high << 32n) | BigInt(this.#engine.next());
  }

  /** One normal by Box and Muller; its twin is kept for the next call, even a call of another `randn`. */
  #normal(): number {
    const spare = this.#spareNormal;
    if (spare !== undefined) {
      this.#spareNormal = undefined;
      return spare;
    }
    const angle = twoPi * this.#uniform53();
    const radius = Math.sqrt(-2 * Math.log1p(-this.#uniform53()));
    this.#spareNormal = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  #normals32(size: number): Float32Array {
    const out = new Float32Array(size);
    if (size < block) return out.map(() => this.#normal());
    this.#fill24(out);
    for (let start = 0; start + block <= size; start += block) toNormals32(out.subarray(start, start + block));
    if (size % block !== 0) toNormals32(this.#fill24(out.subarray(size - block)));
    return out;
  }

  /** The half types draw block by block instead of all uniforms first, so what follows the last full block differs. */
  #normalsBlockwise(size: number): Float32Array {
    const out = new Float32Array(size);
    if (size < block) return out.map(() => this.#normal());
    for (let start = 0; start + block <= size; start += block) {
      toNormals32(this.#fill24(out.subarray(start, start + block)));
    }
    if (size % block !== 0) toNormals32(this.#fill24(out.subarray(size - block)));
    return out;
  }

  #normals64(size: number): Float64Array {
    const out = new Float64Array(size);
    if (size < block) return out.map(() => this.#normal());
    this.#fill53(out);
    for (let start = 0; start + block <= size; start += block) toNormals64(out.subarray(start, start + block));
    if (size % block !== 0) toNormals64(this.#fill53(out.subarray(size - block)));
    return out;
  }
}

/** The number of values of a shape; checked before anything is drawn, so that a bad shape leaves the stream as it was. */
function countOf(shape: Shape): number {
  if (shape.some((dim) => !Number.isSafeInteger(dim) || dim < 0)) {
    throw new DejaDitError('SHAPE_MISMATCH', `shape [${shape}] must be a list of non-negative integers`);
  }
  return sizeOf(shape);
}

/** Box and Muller on 16 uniforms, in place, with the roundings of single precision. */
function toNormals32(values: Float32Array): void {
  for (let i = 0; i < block / 2; i++) {
    const radius = Math.fround(Math.sqrt(Math.fround(-2 * logSingle(1 - values[i]!))));
    const angle = Math.fround(twoPiSingle * values[i + block / 2]!);
    scaledCosSin(angle, radius, values, i, i + block / 2);
  }
}

function toNormals64(values: Float64Array): void {
  for (let i = 0; i < block / 2; i++) {
    const radius = Math.sqrt(-2 * Math.log(1 - values[i]!));
    const angle = twoPi * values[i + block / 2]!;
    values[i] = radius * Math.cos(angle);
    values[i + block / 2] = radius * Math.sin(angle);
  }
}
