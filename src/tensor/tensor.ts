/**
 * A dense row-major tensor in host memory: what goes into and comes out of models.
 * It holds data and does no arithmetic; arithmetic on it belongs to graphs (`graph/`) or to the few host-side helpers beside it.
 */
import { DejaDitError } from '../errors/errors.ts';
import { toFloat32 } from './convert.ts';
import { arrayClass, bytesPerElement, type DType, type TypedArray } from './dtype.ts';

export type Shape = readonly number[];

export function sizeOf(shape: Shape): number {
  return shape.reduce((product, dim) => product * dim, 1);
}

/**
 * @example
 * const latents = new Tensor('float32', new Float32Array(16 * 16 * 4), [1, 4, 16, 16]);
 */
export class Tensor {
  readonly dtype: DType;
  readonly data: TypedArray;
  readonly shape: Shape;

  /**
   * @param dtype element type; `float16`, `bfloat16` and `float8_*` data are their raw bits in an unsigned array
   * @param data row-major elements, not copied
   * @param shape dimensions; their product must be `data.length`
   */
  constructor(dtype: DType, data: TypedArray, shape: Shape) {
    const expected = arrayClass(dtype);
    if (!(data instanceof expected)) {
      const got = (data as object | undefined)?.constructor?.name ?? typeof data;
      throw new DejaDitError('INVALID_ARGUMENT', `a ${dtype} tensor needs a ${expected.name}, got ${got}`);
    }
    if (!Array.isArray(shape) || shape.some((dim) => !Number.isSafeInteger(dim) || dim < 0)) {
      throw new DejaDitError('SHAPE_MISMATCH', `shape [${shape}] must be a list of non-negative integers`);
    }
    if (sizeOf(shape) !== data.length) {
      throw new DejaDitError(
        'SHAPE_MISMATCH',
        `shape [${shape}] needs ${sizeOf(shape)} elements, data has ${data.length}`,
      );
    }
    this.dtype = dtype;
    this.data = data;
    this.shape = shape;
  }

  get size(): number {
    return this.data.length;
  }

  /**
   * The elements of a float32 tensor.
   * @throws DejaDitError INVALID_ARGUMENT for any other dtype; `float()` converts
   */
  get f32(): Float32Array {
    if (this.data instanceof Float32Array) return this.data;
    throw new DejaDitError('INVALID_ARGUMENT', `${this} is not float32; convert it with float()`);
  }

  get bytes(): number {
    return this.data.length * bytesPerElement(this.dtype);
  }

  /**
   * Size of one dimension; negative counts from the end.
   * @throws DejaDitError SHAPE_MISMATCH if there is no such dimension
   */
  dim(axis: number): number {
    const size = this.shape.at(axis);
    if (size === undefined) throw new DejaDitError('SHAPE_MISMATCH', `[${this.shape}] has no axis ${axis}`);
    return size;
  }

  /** The same data under another shape. One dimension may be -1 and is then inferred. */
  reshape(shape: Shape): Tensor {
    const known = shape.reduce((product, dim) => (dim === -1 ? product : product * dim), 1);
    return new Tensor(
      this.dtype,
      this.data,
      shape.map((dim) => (dim === -1 ? this.size / known : dim)),
    );
  }

  /** This tensor as float32: itself if it already is, a converted copy otherwise (any numeric dtype). */
  float(): Tensor {
    return this.dtype === 'float32' ? this : new Tensor('float32', toFloat32(this.dtype, this.data), this.shape);
  }

  toString(): string {
    return `Tensor(${this.dtype} [${this.shape.join(', ')}])`;
  }
}

/** `Length` dimensions. */
export type Dims<Length extends number, Found extends number[] = []> = Length extends Found['length']
  ? Found
  : Dims<Length, [...Found, number]>;

/** What has a shape: a tensor, a weight, or a symbolic tensor, whose errors name the module that it is in. */
interface Shaped {
  readonly shape: Shape;
  readonly graph?: { fail(problem: string): never } | undefined;
}

/**
 * The shape of a tensor, real or symbolic, that has exactly so many dimensions.
 * @throws DejaDitError SHAPE_MISMATCH if it has more or fewer
 */
export function dims<Length extends number>({ shape, graph }: Shaped, count: Length): Dims<Length> {
  if (shape.length === count) return shape as Dims<Length>;
  const problem = `shape [${shape}] has ${shape.length} dimensions, expected ${count}`;
  if (graph) graph.fail(problem);
  throw new DejaDitError('SHAPE_MISMATCH', problem);
}

/**
 * The last dimensions of a tensor that may have more: `[height, width]` of a picture, a video or a batch of them.
 * @throws DejaDitError SHAPE_MISMATCH if it has fewer
 */
export function lastDims<Length extends number>({ shape, graph }: Shaped, count: Length): Dims<Length> {
  return dims({ shape: shape.slice(-count), graph }, count);
}

/** A float32 tensor from numbers. */
export function floatTensor(values: ArrayLike<number>, shape: Shape = [values.length]): Tensor {
  return new Tensor('float32', values instanceof Float32Array ? values : Float32Array.from(values), shape);
}

/** An int64 tensor from numbers. */
export function intTensor(values: ArrayLike<number>, shape: Shape = [values.length]): Tensor {
  return new Tensor('int64', BigInt64Array.from(Array.from(values, BigInt)), shape);
}

/** The rows of a matrix as lists of numbers. */
export function rows(tensor: Tensor): number[][] {
  const { data } = tensor;
  const [count, width] = dims(tensor, 2);
  return Array.from({ length: count }, (_, i) => Array.from({ length: width }, (_, j) => Number(data[i * width + j])));
}
