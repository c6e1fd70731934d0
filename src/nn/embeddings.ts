/** Embeddings: token tables, and scalars and conditioning vectors by sinusoidal features and the small MLPs behind them. */
import { concat } from '../graph/ops.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import { floatTensor } from '../tensor/tensor.ts';
import { type Activation, activate, type BiasOption, linear } from './linear.ts';
import { layer } from './module.ts';

export interface SinusoidOptions {
  /** Number of features, half of them cosines and half sines. */
  dim: number;
  maxPeriod?: number;
  /** Multiplies the angles. */
  scale?: number;
  /** Diffusers' `downscale_freq_shift`. */
  shift?: number;
  /** True: [cos | sin], which all DiTs use; false: [sin | cos]. */
  flipSinToCos?: boolean;
}

/** Diffusers' `get_timestep_embedding`: t [B] → [B, dim], angles t·exp(−ln(maxPeriod)·i / (half − shift)). */
export function sinusoidalEmbedding(t: SymbolicTensor, options: SinusoidOptions): SymbolicTensor {
  const { dim, maxPeriod = 10000, scale = 1, shift = 0, flipSinToCos = true } = options;
  const half = dim / 2;
  // Rounded to float32 after every operation, as PyTorch computes it.
  const frequencies = Float32Array.from({ length: half }, (_, i) => {
    return Math.exp(Math.fround(Math.fround(Math.fround(-Math.log(maxPeriod)) * i) / (half - shift)));
  });
  let angles = t.unsqueeze(1).mul(t.graph.constant(floatTensor(frequencies, [1, half])));
  if (scale !== 1) angles = angles.mul(scale);
  return concat(flipSinToCos ? [angles.cos(), angles.sin()] : [angles.sin(), angles.cos()], -1);
}

/** Diffusers' TimestepEmbedding: `linear_1`, SiLU, `linear_2`. */
export const timestepEmbedding = layer(
  (m, features: SymbolicTensor, width: number, bias: BiasOption = {}): SymbolicTensor => {
    return linear(m.at('linear_2'), linear(m.at('linear_1'), features, width, bias).silu(), width, bias);
  },
);

/** Diffusers' PixArtAlphaTextProjection: `linear_1` to `width`, activation, `linear_2` to `out`, by default the same. */
export const textProjection = layer(
  (m, x: SymbolicTensor, activation: Activation, width: number, out: number = width): SymbolicTensor => {
    return linear(m.at('linear_2'), activate(linear(m.at('linear_1'), x, width), activation), out);
  },
);

export interface Conditions {
  /** [B], in the unit the model was trained with. */
  timestep: SymbolicTensor;
  /** Guidance scale [B] of distilled models. */
  guidance?: SymbolicTensor | undefined;
  /** Pooled text [B, C]. */
  pooled?: SymbolicTensor | undefined;
}

export interface ConditionOptions extends BiasOption {
  width: number;
  /** Sinusoids of each scalar; default 256. */
  features?: number;
}

/**
 * The sum of the embeddings of time, guidance and pooled text, [B, width]: Diffusers' CombinedTimestepGuidanceTextProjEmbeddings
 * and its smaller forms.
 */
export const conditionEmbedding = layer(
  (m, { timestep, guidance, pooled }: Conditions, { width, features = 256, bias }: ConditionOptions) => {
    const scalar = (name: string, value: SymbolicTensor) =>
      timestepEmbedding(m.at(name), sinusoidalEmbedding(value, { dim: features }), width, { bias });
    const parts = [scalar('timestep_embedder', timestep)];
    if (guidance) parts.push(scalar('guidance_embedder', guidance));
    if (pooled) parts.push(textProjection(m.at('text_embedder'), pooled, 'silu', width));
    return parts.reduce((sum, part) => sum.add(part));
  },
);

export interface EmbeddingOptions {
  /** Rows of the table. */
  count: number;
  width: number;
}

/** `nn.Embedding`: integer ids [...] → [..., width]. */
export const embedding = layer((m, ids: SymbolicTensor, { count, width }: EmbeddingOptions): SymbolicTensor => {
  return m.rows('weight', ids, [count, width]);
});
