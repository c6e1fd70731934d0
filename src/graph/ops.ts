/**
 * Operators over several symbolic tensors, each with its shape check. All of them are in the portable set that ONNX
 * Runtime's CPU, WebGPU and CUDA providers execute. What a layer means (weights, names) is up to `nn/`.
 */

import { dims, sizeOf, Tensor } from '../tensor/tensor.ts';
import { broadcastShapes, normalizeAxis } from './shapes.ts';
import type { SymbolicTensor } from './symbolic.ts';

/** Joins tensors along one axis. */
export function concat(tensors: readonly SymbolicTensor[], axis: number): SymbolicTensor {
  const [first] = tensors as [SymbolicTensor];
  if (tensors.length === 1) return first;
  const at = normalizeAxis(first, axis);
  for (const tensor of tensors) {
    const fits = tensor.rank === first.rank && tensor.shape.every((dim, i) => i === at || dim === first.shape[i]);
    if (!fits || tensor.dtype !== first.dtype) {
      first.graph.fail(
        `cannot concatenate ${tensors.map((t) => `${t.dtype}[${t.shape}]`).join(', ')} along axis ${axis}`,
      );
    }
  }
  const total = tensors.reduce((sum, tensor) => sum + tensor.shape[at]!, 0);
  const shape = first.shape.map((dim, i) => (i === at ? total : dim));
  return first.graph.emit('Concat', { dtype: first.dtype, shape }, { inputs: tensors, attributes: { axis: at } });
}

/** Elementwise choice; the three shapes broadcast. */
export function where(condition: SymbolicTensor, yes: SymbolicTensor, no: SymbolicTensor): SymbolicTensor {
  const values = broadcastShapes(yes.shape, no.shape);
  const shape = values && broadcastShapes(condition.shape, values);
  if (!shape || condition.dtype !== 'bool') {
    condition.graph.fail(`where of ${condition.dtype}[${condition.shape}], [${yes.shape}] and [${no.shape}]`);
  }
  return condition.graph.emit('Where', { dtype: yes.dtype, shape }, { inputs: [condition, yes, no] });
}

/** Rows of `table` [rows, …] picked by integer `indices` [n, …], which gives [n, …, …]. */
export function gather(table: SymbolicTensor, indices: SymbolicTensor, axis = 0): SymbolicTensor {
  const at = normalizeAxis(table, axis);
  if (indices.dtype !== 'int64' && indices.dtype !== 'int32')
    table.graph.fail(`indices must be integers, got ${indices.dtype}`);
  const shape = [...table.shape.slice(0, at), ...indices.shape, ...table.shape.slice(at + 1)];
  return table.graph.emit(
    'Gather',
    { dtype: table.dtype, shape },
    { inputs: [table, indices], attributes: { axis: at } },
  );
}

/** x [..., in] times weight [out, in] transposed (PyTorch's Linear layout), plus bias [out] or, for two axes, [rows, out]: [..., out]. */
export function gemm(x: SymbolicTensor, weight: SymbolicTensor, bias?: SymbolicTensor): SymbolicTensor {
  const [outFeatures, inFeatures] = [weight.dim(0), weight.dim(-1)];
  const added = bias && [[outFeatures], [x.dim(0), outFeatures]][bias.rank - 1];
  if (weight.rank !== 2 || x.dim(-1) !== inFeatures || (bias && String(bias.shape) !== String(added))) {
    x.graph.fail(`linear of [${x.shape}] with weight [${weight.shape}]${bias ? ` and bias [${bias.shape}]` : ''}`);
  }
  const rows = x.reshape([-1, inFeatures]);
  x.graph.countFlops(2 * sizeOf(weight.shape) * rows.dim(0));
  const product = x.graph.emit(
    'Gemm',
    { dtype: x.dtype, shape: [rows.dim(0), outFeatures] },
    { inputs: bias ? [rows, weight, bias] : [rows, weight], attributes: { transB: 1 } },
  );
  return product.reshape([...x.shape.slice(0, -1), outFeatures]);
}

export interface Int8Operand {
  /** [in, out]. */
  codes: SymbolicTensor;
  /** [out] or [1]. */
  scale: SymbolicTensor;
  /** Of uint8 codes. */
  zeroPoint?: number | undefined;
}

/**
 * x [rows, in] rounded to 8 bits (one scale and zero point for all of it) times codes [in, out], int8, or uint8 with a `zeroPoint` to
 * be subtracted; summed in integers, times `scale` ([out] or [1]), plus bias [out]. CPU and WebAssembly only. Where a processor adds
 * pairs of products in 16 bits, int8 codes overflow, see `Backend.capabilities`.
 */
export function dynamicQuantizeMatMul(
  x: SymbolicTensor,
  { codes, scale, zeroPoint, bias }: Int8Operand & { bias?: SymbolicTensor | undefined },
): SymbolicTensor {
  const [rows, inner] = dims(x, 2);
  const out = codes.dim(-1);
  if (x.rank !== 2 || codes.rank !== 2 || codes.dim(0) !== inner || (scale.dim(0) !== out && scale.dim(0) !== 1)) {
    x.graph.fail(`int8 product of [${x.shape}] with codes [${codes.shape}] and scale [${scale.shape}]`);
  }
  x.graph.countFlops(2 * sizeOf(codes.shape) * rows);
  const zero =
    zeroPoint === undefined ? undefined : x.graph.constant(new Tensor('uint8', Uint8Array.of(zeroPoint), []));
  return x.graph.emit(
    'DynamicQuantizeMatMul',
    { dtype: 'float32', shape: [rows, out] },
    { inputs: [x, codes, scale, zero, bias], domain: 'com.microsoft' },
  );
}

/** (codes − zeroPoint) · scale as float32, for uint8 codes [rows, …] with a scale for each row [rows]. */
export function dequantize(
  codes: SymbolicTensor,
  { scale, zeroPoint }: { scale: SymbolicTensor; zeroPoint: number },
): SymbolicTensor {
  const { graph } = codes;
  const zero = graph.constant(new Tensor('uint8', Uint8Array.of(zeroPoint), [1])).expand(scale.shape);
  return graph.emit(
    'DequantizeLinear',
    { dtype: 'float32', shape: codes.shape },
    { inputs: [codes, scale, zero], attributes: { axis: 0 } },
  );
}

/** The nearest integers as int8; halves go to the even one, what is too large to the largest. */
export function quantizeToInt8(x: SymbolicTensor): SymbolicTensor {
  const zero = x.graph.constant(new Tensor('int8', Int8Array.of(0), []));
  return x.graph.emit('QuantizeLinear', { dtype: 'int8', shape: x.shape }, { inputs: [x, x.graph.scalar(1), zero] });
}

export interface ConvOptions {
  weight: SymbolicTensor;
  bias?: SymbolicTensor | undefined;
  stride?: number | readonly number[];
  /** The same on both sides of each spatial axis, or [begin…, end…]. */
  padding?: number | readonly number[];
  groups?: number;
}

/** Convolution over the spatial axes of x [N, C, …] with weight [out, C / groups, …]. */
export function conv(
  x: SymbolicTensor,
  { weight, bias, stride = 1, padding = 0, groups = 1 }: ConvOptions,
): SymbolicTensor {
  const spatial = x.rank - 2;
  const perAxis = (value: number | readonly number[]) =>
    typeof value === 'number' ? Array<number>(spatial).fill(value) : value;
  const strides = perAxis(stride);
  const half = perAxis(padding);
  const pads = half.length === spatial ? [...half, ...half] : half;
  const kernel = weight.shape.slice(2);
  if (weight.rank !== x.rank || x.dim(1) !== weight.dim(1) * groups || pads.length !== 2 * spatial) {
    x.graph.fail(`convolution of [${x.shape}] with weight [${weight.shape}] in ${groups} group(s)`);
  }
  const size = kernel.map((k, i) => Math.floor((x.dim(i + 2) + pads[i]! + pads[i + spatial]! - k) / strides[i]!) + 1);
  if (size.some((dim) => dim < 1)) x.graph.fail(`[${x.shape}] is smaller than the convolution kernel [${kernel}]`);
  x.graph.countFlops(2 * sizeOf(weight.shape) * x.dim(0) * sizeOf(size));
  return x.graph.emit(
    'Conv',
    { dtype: x.dtype, shape: [x.dim(0), weight.dim(0), ...size] },
    {
      inputs: bias ? [x, weight, bias] : [x, weight],
      attributes: { kernel_shape: kernel, strides, pads, group: groups },
    },
  );
}

/** Pads with a constant; `pads` is [begin of each axis…, end of each axis…]. */
export function pad(x: SymbolicTensor, pads: readonly number[], value = 0): SymbolicTensor {
  if (pads.length !== 2 * x.rank) x.graph.fail(`[${x.shape}] needs ${2 * x.rank} pad sizes, got ${pads.length}`);
  if (pads.every((size) => size === 0)) return x;
  const shape = x.shape.map((dim, i) => dim + pads[i]! + pads[i + x.rank]!);
  const inputs = [x, x.graph.integers(pads), x.graph.scalar(value, x.dtype)];
  return x.graph.emit('Pad', { dtype: x.dtype, shape }, { inputs, attributes: { mode: 'constant' } });
}

/** Nearest-neighbour upsampling of the spatial axes of x [N, C, …] by an integer factor per axis. */
export function upsampleNearest(x: SymbolicTensor, factors: readonly number[]): SymbolicTensor {
  const shape = x.shape.map((dim, i) => (i < 2 ? dim : dim * (factors[i - 2] ?? 1)));
  return x.graph.emit(
    'Resize',
    { dtype: x.dtype, shape },
    {
      inputs: [x, undefined, undefined, x.graph.integers(shape)],
      attributes: { mode: 'nearest', nearest_mode: 'floor', coordinate_transformation_mode: 'asymmetric' },
    },
  );
}

export interface LayerNormOptions {
  epsilon: number;
  /** Broadcastable to x with at least the last axis; 1 if absent. */
  scale?: SymbolicTensor | undefined;
  bias?: SymbolicTensor | undefined;
}

/** Normalises the last axis to mean 0 and variance 1. */
export function layerNormalization(x: SymbolicTensor, { epsilon, scale, bias }: LayerNormOptions): SymbolicTensor {
  const one = scale ?? ones(x);
  return x.graph.emit('LayerNormalization', x, {
    inputs: bias ? [x, one, bias] : [x, one],
    attributes: { axis: -1, epsilon: { float: epsilon } },
  });
}

/** Divides the last axis by its root mean square. */
export function rmsNormalization(
  x: SymbolicTensor,
  { epsilon, scale }: Omit<LayerNormOptions, 'bias'>,
): SymbolicTensor {
  return x.graph.emit('RMSNormalization', x, {
    inputs: [x, scale ?? ones(x)],
    attributes: { axis: -1, epsilon: { float: epsilon } },
  });
}

function ones(x: SymbolicTensor): SymbolicTensor {
  return x.graph.scalar(1, x.dtype).expand([x.dim(-1)]);
}

export interface RotaryOptions {
  /** [B or 1, S, rotated / 2]. */
  cos: SymbolicTensor;
  sin: SymbolicTensor;
  numHeads: number;
  /** True: pairs are (2i, 2i+1), as in FLUX; false: (i, i + d/2), as in Llama. */
  interleaved: boolean;
}

/** Rotary position embedding (arXiv 2104.09864) of x [B, S, heads·headDim]. */
export function rotaryEmbedding(x: SymbolicTensor, { cos, sin, numHeads, interleaved }: RotaryOptions): SymbolicTensor {
  const [batch, length] = dims(x, 3);
  const headDim = x.dim(-1) / numHeads;
  const rotated = cos.dim(-1) * 2;
  if (x.rank !== 3 || cos.rank !== 3 || cos.dim(1) !== length || rotated > headDim || cos.dim(0) > batch) {
    x.graph.fail(`rotary embedding of [${x.shape}] in ${numHeads} heads with tables [${cos.shape}]`);
  }
  const [cosTable, sinTable] = [cos, sin].map((table) => table.expand([batch, length, table.dim(-1)]));
  return x.graph.emit('RotaryEmbedding', x, {
    inputs: [x, cosTable, sinTable],
    attributes: {
      num_heads: numHeads,
      interleaved: interleaved ? 1 : 0,
      // 0 means the whole head.
      rotary_embedding_dim: rotated === headDim ? 0 : rotated,
    },
  });
}

export interface AttentionOptions {
  /** [B, S, heads·headDim]. */
  query: SymbolicTensor;
  /** [B, T, heads·headDim]. */
  key: SymbolicTensor;
  value: SymbolicTensor;
  numHeads: number;
  /** Default 1 / √headDim. */
  scale?: number;
  /** Added to the scores: broadcastable to [B, heads, S, T]. Costs S·T memory on CPU: trim padding where possible. */
  bias?: SymbolicTensor | undefined;
}

/** softmax(q·kᵀ·scale + bias)·v for every head: [B, S, heads·headDim]. */
export function multiHeadAttention({ query, key, value, numHeads, scale, bias }: AttentionOptions): SymbolicTensor {
  const { graph } = query;
  const fits = query.dim(-1) === key.dim(-1) && key.dim(1) === value.dim(1) && query.dim(-1) % numHeads === 0;
  if (query.rank !== 3 || key.rank !== 3 || !fits) {
    graph.fail(
      `attention of query [${query.shape}], key [${key.shape}] and value [${value.shape}] in ${numHeads} heads`,
    );
  }
  graph.countFlops(2 * sizeOf(query.shape) * key.dim(-2) * 2);
  return graph.emit(
    'MultiHeadAttention',
    { dtype: query.dtype, shape: [query.dim(0), query.dim(1), value.dim(-1)] },
    {
      inputs: bias ? [query, key, value, undefined, undefined, bias] : [query, key, value],
      attributes: { num_heads: numHeads, ...(scale === undefined ? {} : { scale: { float: scale } }) },
      domain: 'com.microsoft',
    },
  );
}
