/** Normalisation layers, plain and modulated by a conditioning vector ("adaLN", arXiv 2212.09748). */
import { gather, layerNormalization, rmsNormalization } from '../graph/ops.ts';
import type { ListOf, SymbolicTensor } from '../graph/symbolic.ts';
import { type BiasOption, linear } from './linear.ts';
import { layer, type Module } from './module.ts';

/** `nn.LayerNorm` over the last axis, affine. Norms without weights are `layerNormalization` and need no module. */
export const layerNorm = layer((m, x: SymbolicTensor, epsilon: number): SymbolicTensor => {
  const shape = [x.dim(-1)];
  return layerNormalization(x, { epsilon, scale: m.weight('weight', shape), bias: m.weight('bias', shape) });
});

/** `RMSNorm` over the last axis, with a weight. */
export const rmsNorm = layer((m, x: SymbolicTensor, epsilon: number): SymbolicTensor => {
  return rmsNormalization(x, { epsilon, scale: m.weight('weight', [x.dim(-1)]) });
});

/** RMSNorm of every head of x [B, S, heads·headDim] with one weight [headDim] for all heads. */
export const headRmsNorm = layer((m, x: SymbolicTensor, numHeads: number, epsilon: number): SymbolicTensor => {
  const heads = x.reshape([x.dim(0), x.dim(1), numHeads, -1]);
  return rmsNormalization(heads, { epsilon, scale: m.weight('weight', [heads.dim(-1)]) }).reshape(x.shape);
});

/** LayerNorm of every head of x [B, S, heads·headDim], by default with one weight and bias [headDim] for all heads. */
export const headLayerNorm = layer(
  (
    m,
    x: SymbolicTensor,
    { heads, epsilon, affine = true }: { heads: number; epsilon: number; affine?: boolean },
  ): SymbolicTensor => {
    const parts = x.reshape([x.dim(0), x.dim(1), heads, -1]);
    const normed = affine ? layerNorm(m, parts, epsilon) : layerNormalization(parts, { epsilon });
    return normed.reshape(x.shape);
  },
);

/** `nn.GroupNorm` of x [N, C, …] with affine weights. */
export const groupNorm = layer((m, x: SymbolicTensor, groups: number, epsilon: number): SymbolicTensor => {
  const channels = x.dim(1);
  // Means of rows, then of their means: over the millions of pixels of an image, a single sum in float32 (as in ONNX Runtime's
  // InstanceNormalization) loses three digits.
  const groupMean = (y: SymbolicTensor) => y.mean(-1).mean(2);
  const rows = x.reshape([x.dim(0), groups, -1, x.dim(-1)]);
  const centred = rows.sub(groupMean(rows));
  const deviation = groupMean(centred.mul(centred)).add(epsilon).sqrt();
  const scale = m.weight('weight', [channels]).reshape([1, groups, -1, 1]).div(deviation);
  const ones = Array<number>(x.rank - 2).fill(1);
  return centred
    .reshape(x.shape)
    .mul(scale.reshape([x.dim(0), channels, ...ones]))
    .add(m.weight('bias', [channels]).reshape([channels, ...ones]));
});

export interface Modulation {
  /** [B, D] or [B, 1, D]. */
  scale: SymbolicTensor;
  shift?: SymbolicTensor | undefined;
}

/** LayerNorm(x)·(1 + scale) + shift for x [B, S, D], fused into one operator. */
export function modulatedLayerNorm(x: SymbolicTensor, { scale, shift }: Modulation, epsilon = 1e-6): SymbolicTensor {
  return layerNormalization(x, { epsilon, scale: perToken(scale).add(1), bias: shift && perToken(shift) });
}

/**
 * Vectors that broadcast over tokens: one per sample, [B, D] → [B, 1, D]. Where samples mix tokens of several conditionings
 * (a clean first frame, say), `rows` [B, S] (int64) says which row of x [R, D] each token takes: [B, S, D].
 */
export function perToken(x: SymbolicTensor, rows?: SymbolicTensor): SymbolicTensor {
  if (rows) return gather(x, rows);
  return x.rank === 2 ? x.unsqueeze(1) : x;
}

/** SiLU, then `linear`, cut into `parts` vectors per sample: the modulation of a block from the conditioning `temb` [B, D]. */
export const modulation = layer(
  <Count extends number>(
    m: Module,
    temb: SymbolicTensor,
    parts: Count,
    { width, bias }: BiasOption & { width: number },
  ): ListOf<SymbolicTensor, Count> => {
    const vectors = linear(m.at('linear'), temb.silu(), parts * width, { bias }).chunk<number>(parts);
    return vectors.map((vector) => perToken(vector)) as ListOf<SymbolicTensor, Count>;
  },
);

/**
 * Diffusers' AdaLayerNormContinuous: the norm before the output projection. Its linear yields (scale, shift), in this
 * order, unlike the blocks' modulations.
 */
export const adaLayerNormContinuous = layer(
  (m, x: SymbolicTensor, temb: SymbolicTensor, { epsilon, bias }: BiasOption & { epsilon: number }): SymbolicTensor => {
    const [scale, shift] = modulation(m, temb, 2, { width: x.dim(-1), bias });
    return modulatedLayerNorm(x, { scale, shift }, epsilon);
  },
);
