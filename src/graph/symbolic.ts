/**
 * A tensor that does not exist yet: a name, dtype and shape in a graph under construction, with the operators that read
 * best as methods (arithmetic and shape). Operators with several tensor arguments live in `ops/`.
 * Shapes are concrete: a graph is built for one set of input sizes.
 */
import type { DType } from '../tensor/dtype.ts';
import type { Shape } from '../tensor/tensor.ts';
import { sizeOf } from '../tensor/tensor.ts';
import type { GraphBuilder } from './builder.ts';
import { onnxElementType } from './encode.ts';
import { broadcastShapes, normalizeAxis } from './shapes.ts';

export type Operand = SymbolicTensor | number;

/** A list whose length the compiler knows: `const [scale, shift] = x.chunk(2)` has two tensors, not "maybe two". */
export type ListOf<T, Length extends number, Found extends T[] = []> = number extends Length
  ? T[]
  : Length extends Found['length']
    ? Found
    : ListOf<T, Length, [...Found, T]>;

export class SymbolicTensor {
  constructor(
    readonly graph: GraphBuilder,
    readonly name: string,
    readonly dtype: DType,
    readonly shape: Shape,
  ) {}

  get rank(): number {
    return this.shape.length;
  }

  /** Size of one dimension; negative counts from the end. */
  dim(axis: number): number {
    return this.shape[normalizeAxis(this, axis)]!;
  }

  add(other: Operand): SymbolicTensor {
    return this.binary('Add', other);
  }

  sub(other: Operand): SymbolicTensor {
    return this.binary('Sub', other);
  }

  mul(other: Operand): SymbolicTensor {
    return this.binary('Mul', other);
  }

  div(other: Operand): SymbolicTensor {
    return this.binary('Div', other);
  }

  pow(exponent: number): SymbolicTensor {
    return this.binary('Pow', exponent);
  }

  greater(other: Operand): SymbolicTensor {
    return this.binary('Greater', other, 'bool');
  }

  equal(other: Operand): SymbolicTensor {
    return this.binary('Equal', other, 'bool');
  }

  and(other: SymbolicTensor): SymbolicTensor {
    return this.binary('And', other);
  }

  neg(): SymbolicTensor {
    return this.unary('Neg');
  }

  abs(): SymbolicTensor {
    return this.unary('Abs');
  }

  exp(): SymbolicTensor {
    return this.unary('Exp');
  }

  sqrt(): SymbolicTensor {
    return this.unary('Sqrt');
  }

  sin(): SymbolicTensor {
    return this.unary('Sin');
  }

  cos(): SymbolicTensor {
    return this.unary('Cos');
  }

  tanh(): SymbolicTensor {
    return this.unary('Tanh');
  }

  sigmoid(): SymbolicTensor {
    return this.unary('Sigmoid');
  }

  relu(): SymbolicTensor {
    return this.unary('Relu');
  }

  /** x·sigmoid(αx): SiLU at α = 1, CLIP's "quick GELU" at α = 1.702. One fused operator of ONNX Runtime. */
  silu(alpha = 1): SymbolicTensor {
    return this.graph.emit('QuickGelu', this, {
      inputs: [this],
      attributes: { alpha: { float: alpha } },
      domain: 'com.microsoft',
    });
  }

  gelu(approximate: 'none' | 'tanh' = 'none'): SymbolicTensor {
    return this.graph.emit('Gelu', this, { inputs: [this], attributes: { approximate } });
  }

  softmax(axis = -1): SymbolicTensor {
    return this.graph.emit('Softmax', this, { inputs: [this], attributes: { axis } });
  }

  clamp(min: number | undefined, max: number | undefined): SymbolicTensor {
    const bound = (value: number | undefined) =>
      value === undefined ? undefined : this.graph.scalar(value, this.dtype);
    return this.graph.emit('Clip', this, { inputs: [this, bound(min), bound(max)] });
  }

  cast(dtype: DType): SymbolicTensor {
    if (dtype === this.dtype) return this;
    return this.graph.emit(
      'Cast',
      { dtype, shape: this.shape },
      { inputs: [this], attributes: { to: onnxElementType(dtype) } },
    );
  }

  /** The same bits read as another type of the same width. */
  bitCast(dtype: DType): SymbolicTensor {
    return this.graph.emit(
      'BitCast',
      { dtype, shape: this.shape },
      { inputs: [this], attributes: { to: onnxElementType(dtype) } },
    );
  }

  mean(axis = -1, keepDims = true): SymbolicTensor {
    return this.reduce('ReduceMean', axis, keepDims);
  }

  sum(axis = -1, keepDims = true): SymbolicTensor {
    return this.reduce('ReduceSum', axis, keepDims);
  }

  max(axis = -1, keepDims = true): SymbolicTensor {
    return this.reduce('ReduceMax', axis, keepDims);
  }

  /** Euclidean length along one axis, which stays with size 1. */
  norm(axis: number): SymbolicTensor {
    return this.reduce('ReduceL2', axis, true);
  }

  /** The same elements under another shape; one dimension may be -1. */
  reshape(shape: Shape): SymbolicTensor {
    const known = shape.reduce((product, dim) => (dim === -1 ? product : product * dim), 1);
    const size = sizeOf(this.shape);
    const target = shape.map((dim) => (dim === -1 ? size / known : dim));
    if (
      shape.filter((dim) => dim === -1).length > 1 ||
      sizeOf(target) !== size ||
      target.some((dim) => !Number.isInteger(dim))
    ) {
      this.graph.fail(`cannot reshape [${this.shape}] to [${shape}]`);
    }
    if (target.length === this.rank && target.every((dim, i) => dim === this.shape[i])) return this;
    return this.graph.emit(
      'Reshape',
      { dtype: this.dtype, shape: target },
      { inputs: [this, this.graph.integers(target)] },
    );
  }

  /** Permutes all axes: result axis i is this tensor's axis `order[i]`. */
  transpose(order: readonly number[]): SymbolicTensor {
    if (
      order.length !== this.rank ||
      new Set(order).size !== this.rank ||
      order.some((axis) => !(axis in this.shape))
    ) {
      this.graph.fail(`[${order}] is no permutation of the axes of [${this.shape}]`);
    }
    const shape = order.map((axis) => this.shape[axis]!);
    return this.graph.emit('Transpose', { dtype: this.dtype, shape }, { inputs: [this], attributes: { perm: order } });
  }

  /** Inserts an axis of size 1. */
  unsqueeze(axis: number): SymbolicTensor {
    const at = axis < 0 ? axis + this.rank + 1 : axis;
    return this.reshape([...this.shape.slice(0, at), 1, ...this.shape.slice(at)]);
  }

  /** Removes an axis of size 1. */
  squeeze(axis: number): SymbolicTensor {
    const at = normalizeAxis(this, axis);
    if (this.shape[at] !== 1) this.graph.fail(`cannot squeeze axis ${axis} of [${this.shape}]`);
    return this.reshape([...this.shape.slice(0, at), ...this.shape.slice(at + 1)]);
  }

  /** Elements `start` to `end` (exclusive) along one axis; negative bounds count from the end. */
  slice(axis: number, start: number, end: number = this.dim(axis)): SymbolicTensor {
    const at = normalizeAxis(this, axis);
    const size = this.shape[at]!;
    const [from, to] = [start < 0 ? start + size : start, end < 0 ? end + size : end];
    if (from < 0 || to > size || from >= to)
      this.graph.fail(`slice ${start}:${end} is outside axis ${axis} of [${this.shape}]`);
    if (from === 0 && to === size) return this;
    const shape = this.shape.map((dim, i) => (i === at ? to - from : dim));
    const { graph } = this;
    const bounds = [[from], [to], [at]].map((value) => graph.integers(value));
    return graph.emit('Slice', { dtype: this.dtype, shape }, { inputs: [this, ...bounds] });
  }

  /** Splits an axis into parts: a count of equal parts, or their sizes. */
  split<Count extends number>(axis: number, parts: Count): ListOf<SymbolicTensor, Count>;
  split<const Sizes extends readonly number[]>(
    axis: number,
    parts: Sizes,
  ): { -readonly [Part in keyof Sizes]: SymbolicTensor };
  split(axis: number, parts: number | readonly number[]): SymbolicTensor[] {
    const at = normalizeAxis(this, axis);
    const size = this.shape[at]!;
    const sizes = typeof parts === 'number' ? Array.from({ length: parts }, () => size / parts) : parts;
    if (sizes.reduce((sum, part) => sum + part, 0) !== size || sizes.some((part) => !Number.isInteger(part))) {
      this.graph.fail(
        `cannot split axis ${axis} of [${this.shape}] into ${typeof parts === 'number' ? `${parts} parts` : `[${parts}]`}`,
      );
    }
    const outputs = sizes.map((part) => ({
      dtype: this.dtype,
      shape: this.shape.map((dim, i) => (i === at ? part : dim)),
    }));
    return this.graph.emitMany('Split', outputs, {
      inputs: [this, this.graph.integers(sizes)],
      attributes: { axis: at },
    });
  }

  /** Splits into equal parts, as torch.chunk. */
  chunk<Count extends number>(count: Count, axis = -1): ListOf<SymbolicTensor, Count> {
    return this.split(axis, count);
  }

  /** Repeats size-1 axes up to `shape` (numpy broadcasting). */
  expand(shape: Shape): SymbolicTensor {
    const target = broadcastShapes(this.shape, shape);
    if (!target || sizeOf(target) !== sizeOf(shape)) this.graph.fail(`cannot expand [${this.shape}] to [${shape}]`);
    if (sizeOf(target) === sizeOf(this.shape)) return this.reshape(target);
    return this.graph.emit(
      'Expand',
      { dtype: this.dtype, shape: target },
      { inputs: [this, this.graph.integers(target)] },
    );
  }

  /** Batched matrix product with numpy broadcasting of the leading axes. */
  matmul(other: SymbolicTensor): SymbolicTensor {
    const batch = broadcastShapes(this.shape.slice(0, -2), other.shape.slice(0, -2));
    if (this.rank < 2 || other.rank < 2 || !batch || this.dim(-1) !== other.dim(-2)) {
      this.graph.fail(`matmul of [${this.shape}] and [${other.shape}]`);
    }
    const shape = [...batch, this.dim(-2), other.dim(-1)];
    this.graph.countFlops(2 * sizeOf(shape) * this.dim(-1));
    return this.graph.emit('MatMul', { dtype: this.dtype, shape }, { inputs: [this, other] });
  }

  private unary(op: string): SymbolicTensor {
    return this.graph.emit(op, this, { inputs: [this] });
  }

  private binary(op: string, operand: Operand, dtype: DType = this.dtype): SymbolicTensor {
    const other = typeof operand === 'number' ? this.graph.scalar(operand, this.dtype) : operand;
    const shape = broadcastShapes(this.shape, other.shape);
    if (!shape) this.graph.fail(`${op} of [${this.shape}] and [${other.shape}]: the shapes do not broadcast`);
    if (this.dtype !== other.dtype) this.graph.fail(`${op} of ${this.dtype} and ${other.dtype}`);
    return this.graph.emit(op, { dtype, shape }, { inputs: [this, other] });
  }

  private reduce(op: string, axis: number, keepDims: boolean): SymbolicTensor {
    const at = normalizeAxis(this, axis);
    const shape = this.shape.flatMap((dim, i) => (i !== at ? [dim] : keepDims ? [1] : []));
    const { graph } = this;
    return graph.emit(
      op,
      { dtype: this.dtype, shape },
      { inputs: [this, graph.integers([at])], attributes: { keepdims: keepDims ? 1 : 0 } },
    );
  }
}
