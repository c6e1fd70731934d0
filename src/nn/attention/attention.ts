/**
 * Attention layers with the weights of Diffusers' `Attention`: projections, optional norms of queries and keys, rotary positions,
 * output projection. Masks arrive as additive biases (see `attention-mask.ts`).
 */

import { concat, gather, multiHeadAttention } from '../../graph/ops.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { dims } from '../../tensor/tensor.ts';
import { linear } from '../linear.ts';
import { layer, type Module } from '../module.ts';
import { headLayerNorm, headRmsNorm, rmsNorm } from '../norms.ts';
import { applyRotary, type Rotary } from '../rotary.ts';
import { type KeyMask, keyBias } from './attention-mask.ts';

/**
 * Diffusers' `qk_norm`: of every head an RMSNorm with one weight [headDim], a LayerNorm with weight and bias [headDim], or a LayerNorm
 * without (`fp32_layer_norm`); or an RMSNorm of all heads together with [heads · headDim].
 */
export interface QkNorm {
  kind: 'rms_norm' | 'rms_norm_across_heads' | 'layer_norm' | 'fp32_layer_norm';
  epsilon: number;
}

/** Queries, keys and values, [B, S, heads · headDim] each. */
export interface Projections {
  query: SymbolicTensor;
  key: SymbolicTensor;
  value: SymbolicTensor;
}

/** Names of a stream's projections within the attention module. */
export interface ProjectionNames {
  query: string;
  key: string;
  value: string;
  queryNorm: string;
  keyNorm: string;
}

const ownStream: ProjectionNames = {
  query: 'to_q',
  key: 'to_k',
  value: 'to_v',
  queryNorm: 'norm_q',
  keyNorm: 'norm_k',
};

/** The second stream of joint attention (text), which has projections of its own. */
export const addedStream: ProjectionNames = {
  query: 'add_q_proj',
  key: 'add_k_proj',
  value: 'add_v_proj',
  queryNorm: 'norm_added_q',
  keyNorm: 'norm_added_k',
};

export interface ProjectionOptions {
  heads: number;
  /** Width of all query heads together; default: the width of x. */
  inner?: number;
  /** Fewer heads for keys and values than for queries (grouped queries, arXiv 2305.13245); default `heads`. */
  keyValueHeads?: number;
  qkNorm?: QkNorm | undefined;
  /** Whether the projections of queries, keys and values have biases; default true. */
  projectionBias?: boolean | undefined;
  /** What keys and values are made of; default x itself. */
  context?: SymbolicTensor;
  /** Default: `to_q`, `to_k`, `to_v`, `norm_q`, `norm_k`. */
  names?: ProjectionNames;
}

/** Projects x [B, S, …] to queries, and x or `context` to keys and values. */
export function projectQkv(m: Module, x: SymbolicTensor, options: ProjectionOptions): Projections {
  const { heads, inner = x.dim(-1), keyValueHeads = heads, qkNorm, context = x, names = ownStream } = options;
  const bias = { bias: options.projectionBias };
  const keyValueWidth = (inner / heads) * keyValueHeads;
  const norm = (name: string, projected: SymbolicTensor, count: number) =>
    qkNorm ? normalizeHeads(m.at(name), projected, count, qkNorm) : projected;
  return {
    query: norm(names.queryNorm, linear(m.at(names.query), x, inner, bias), heads),
    key: norm(names.keyNorm, linear(m.at(names.key), context, keyValueWidth, bias), keyValueHeads),
    value: linear(m.at(names.value), context, keyValueWidth, bias),
  };
}

/** The norm of queries or keys x [B, S, heads · headDim]. */
export function normalizeHeads(m: Module, x: SymbolicTensor, heads: number, { kind, epsilon }: QkNorm): SymbolicTensor {
  switch (kind) {
    case 'rms_norm':
      return headRmsNorm(m, x, heads, epsilon);
    case 'rms_norm_across_heads':
      return rmsNorm(m, x, epsilon);
    case 'layer_norm':
    case 'fp32_layer_norm':
      return headLayerNorm(m, x, { heads, epsilon, affine: kind === 'layer_norm' });
    default:
      return kind satisfies never;
  }
}

export interface AttendOptions extends Projections {
  heads: number;
  keyValueHeads?: number;
  /** Turns queries and keys. */
  rotary?: Rotary | undefined;
  /** Added to the scores, [B or 1, heads or 1, S, T]. */
  bias?: SymbolicTensor | undefined;
  /** Another way to say which keys are seen, which costs less where it can leave keys out. */
  mask?: KeyMask<SymbolicTensor> | undefined;
  /** Default 1 / √headDim. */
  scale?: number;
}

/** Attention between projected tensors: [B, S, heads · headDim]. */
export function attend(options: AttendOptions): SymbolicTensor {
  const { query, key, value, heads, keyValueHeads = heads, rotary, mask, scale } = options;
  const turn = (x: SymbolicTensor, count: number) => (rotary ? applyRotary(x, rotary, count) : x);
  const seen = (x: SymbolicTensor) =>
    repeatHeads(mask?.keys ? gather(x, mask.keys, 1) : x, { from: keyValueHeads, to: heads });
  const attended = multiHeadAttention({
    query: turn(query, heads),
    key: seen(turn(key, keyValueHeads)),
    value: seen(value),
    numHeads: heads,
    bias: mask?.bias ? keyBias(mask.bias, query.dim(1)) : options.bias,
    ...(scale === undefined ? {} : { scale }),
  });
  return mask?.queries ? attended.mul(mask.queries) : attended;
}

export interface AttentionLayerOptions extends Omit<ProjectionOptions, 'names'> {
  /** Whether the output projection has one; default true. */
  outputBias?: boolean | undefined;
  rotary?: Rotary | undefined;
  bias?: SymbolicTensor | undefined;
  mask?: KeyMask<SymbolicTensor> | undefined;
}

/** Self-attention of x [B, S, D], or cross-attention to `context`: projections, attention, `to_out.0`. */
export const attention = layer((m, x: SymbolicTensor, options: AttentionLayerOptions): SymbolicTensor => {
  const attended = attend({ ...projectQkv(m, x, options), ...options });
  return linear(m.at('to_out.0'), attended, x.dim(-1), { bias: options.outputBias });
});

export interface JointAttentionOptions extends Pick<AttentionLayerOptions, 'projectionBias' | 'outputBias'> {
  image: SymbolicTensor;
  text: SymbolicTensor;
  heads: number;
  qkNorm?: QkNorm | undefined;
  /** Which stream comes first in the joined sequence; rotary tables and bias follow this order. */
  first: 'text' | 'image';
  rotary?: Rotary | undefined;
  bias?: SymbolicTensor | undefined;
  mask?: KeyMask<SymbolicTensor> | undefined;
  /** False in a last block, whose text nobody reads: there is no `to_add_out` then. */
  textOutput?: boolean;
}

/**
 * Attention of two streams as one sequence, each with its own projections (MM-DiT, arXiv 2403.03206).
 * @returns both streams; `text` is undefined without `textOutput`
 */
export const jointAttention = layer((m, options: JointAttentionOptions) => {
  const { image, text, heads, qkNorm, first, rotary, bias, mask, textOutput = true } = options;
  const { projectionBias, outputBias } = options;
  const order = <T>(ofImage: T, ofText: T): [T, T] => (first === 'text' ? [ofText, ofImage] : [ofImage, ofText]);
  const [head, tail] = order(
    projectQkv(m, image, { heads, qkNorm, projectionBias }),
    projectQkv(m, text, { heads, qkNorm, projectionBias, names: addedStream, inner: image.dim(-1) }),
  );
  const attended = attend({
    query: concat([head.query, tail.query], 1),
    key: concat([head.key, tail.key], 1),
    value: concat([head.value, tail.value], 1),
    heads,
    rotary,
    bias,
    mask,
  });
  const [imageOut, textOut] = order(...attended.split(1, [head.query.dim(1), tail.query.dim(1)]));
  return {
    image: linear(m.at('to_out.0'), imageOut, image.dim(-1), { bias: outputBias }),
    text: textOutput ? linear(m.at('to_add_out'), textOut, text.dim(-1), { bias: outputBias }) : undefined,
  };
});

/** Attention of two streams as one sequence [text, image] through the same projections; see `attention`. */
export function sharedAttention(
  m: Module,
  { image, text }: { image: SymbolicTensor; text: SymbolicTensor },
  options: AttentionLayerOptions,
) {
  const out = attention(m, concat([text, image], 1), options);
  const [textOut, imageOut] = out.split(1, [text.dim(1), image.dim(1)]);
  return { image: imageOut, text: textOut };
}

export interface LinearAttentionOptions extends Projections {
  heads: number;
}

/**
 * Attention with a ReLU kernel in place of the softmax (Sana, arXiv 2410.10629): relu(q)·(relu(k)ᵀ·v), divided by relu(q)·Σ relu(k).
 * Keys and values meet first, so the cost grows with S, not S².
 */
export const linearAttention = layer((_m, { query, key, value, heads }: LinearAttentionOptions): SymbolicTensor => {
  const split = (x: SymbolicTensor) => x.reshape([x.dim(0), x.dim(1), heads, -1]);
  const positiveQuery = split(query).relu().transpose([0, 2, 1, 3]);
  const positiveKey = split(key).relu().transpose([0, 2, 3, 1]);
  const summary = positiveKey.matmul(split(value).transpose([0, 2, 1, 3]));
  const total = positiveKey.sum(-1);
  // 1e-15 keeps a query that no key answers at zero.
  const attended = positiveQuery.matmul(summary).div(positiveQuery.matmul(total).add(1e-15));
  return attended.transpose([0, 2, 1, 3]).reshape(query.shape);
});

/** Gives every group of query heads its own copy of the key or value head it shares. */
function repeatHeads(x: SymbolicTensor, { from, to }: { from: number; to: number }): SymbolicTensor {
  if (from === to) return x;
  const [batch, length, width] = dims(x, 3);
  const headDim = width / from;
  return x
    .reshape([batch, length, from, 1, headDim])
    .expand([batch, length, from, to / from, headDim])
    .reshape([batch, length, to * headDim]);
}
