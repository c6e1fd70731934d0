/**
 * Modulation: a conditioning vector (time, class, pooled text) scales and shifts what a block normalises and gates what it adds
 * to the stream. Every block has its own projection of it ("adaLN-Zero", DiT, arXiv 2212.09748), or all share one and add a
 * learned table ("adaLN-single", PixArt-α, arXiv 2310.00426).
 */
import type { ListOf, SymbolicTensor } from '../graph/symbolic.ts';
import { type BiasOption, linear } from './linear.ts';
import { layer, type Module } from './module.ts';
import { adaLayerNormContinuous, modulatedLayerNorm, perToken } from './norms.ts';

/** What one sublayer (attention, feed-forward) gets from the conditioning, [B, 1, D] each. */
export interface SublayerModulation {
  shift: SymbolicTensor;
  scale: SymbolicTensor;
  gate: SymbolicTensor;
}

/** Reads consecutive (shift, scale, gate) triples, the order of all of Diffusers' blocks. */
export function sublayerModulations<Count extends number>(
  parts: readonly SymbolicTensor[],
  count: Count,
): ListOf<SublayerModulation, Count> {
  const triples = Array.from({ length: count }, (_, i) => {
    const [shift, scale, gate] = parts.slice(3 * i) as [SymbolicTensor, SymbolicTensor, SymbolicTensor];
    return { shift, scale, gate };
  });
  return triples as ListOf<SublayerModulation, Count>;
}

export interface ModulationOptions<Count extends number> {
  sublayers: Count;
  /** D, the width of the stream. */
  width: number;
  /** `[B, S]`, which row of temb each token takes; absent if each sample has one. */
  rows?: SymbolicTensor | undefined;
}

/** SiLU and this linear of temb, as one modulation per sublayer. */
export const projectModulations = layer(
  <Count extends number>(m: Module, temb: SymbolicTensor, options: ModulationOptions<Count>) => {
    const { sublayers, width, rows } = options;
    const vectors = linear(m, temb.silu(), 3 * sublayers * width).chunk<number>(3 * sublayers);
    return sublayerModulations(
      vectors.map((vector) => perToken(vector, rows)),
      sublayers,
    );
  },
);

/** Diffusers' AdaLayerNormZero without its norm: the linear is called `linear`. */
export function adaLayerNormZero<Count extends number>(
  m: Module,
  temb: SymbolicTensor,
  options: ModulationOptions<Count>,
) {
  return projectModulations(m.at('linear'), temb, options);
}

/** Diffusers' AdaLayerNormSingle behind its embeddings: SiLU and `linear` of the embedding [B, D], as [B, parts, D]. */
export const adaLayerNormSingle = layer(
  (m, embedding: SymbolicTensor, parts: number, bias: BiasOption = {}): SymbolicTensor => {
    const width = embedding.dim(-1);
    return linear(m.at('linear'), embedding.silu(), parts * width, bias).reshape([-1, parts, width]);
  },
);

/**
 * The learned table `scale_shift_table` [parts, D] of a block, added to conditioning [B, parts, D] that all blocks share, or to
 * one vector [B, D]: `parts` tensors [B, 1, D], or [B, S, D] if `rows` [B, S] says which row of the conditioning each token takes.
 */
export const scaleShiftTable = layer(
  <Count extends number>(m: Module, conditioning: SymbolicTensor, parts: Count, rows?: SymbolicTensor) => {
    const width = conditioning.dim(-1);
    const shared = conditioning.rank === 2 ? conditioning.unsqueeze(1) : conditioning;
    const vectors = m.reshaped('scale_shift_table', [1, parts, width]).add(shared).chunk<number>(parts, 1);
    const spread = rows ? vectors.map((vector) => perToken(vector.squeeze(1), rows)) : vectors;
    return spread as ListOf<SymbolicTensor, Count>;
  },
);

export interface ResidualOptions {
  modulation: SublayerModulation;
  /** Of the LayerNorm before the sublayer. */
  epsilon?: number;
  sublayer(normed: SymbolicTensor): SymbolicTensor;
}

/** x + gate · sublayer(LayerNorm(x) · (1 + scale) + shift), the half of a block that modern DiTs have in common. */
export function modulatedResidual(
  x: SymbolicTensor,
  { modulation, epsilon, sublayer }: ResidualOptions,
): SymbolicTensor {
  return x.add(modulation.gate.mul(sublayer(modulatedLayerNorm(x, modulation, epsilon))));
}

/** What a sublayer between two norms gets from the conditioning, [B, 1, D] each. */
export interface SandwichModulation {
  scale: SymbolicTensor;
  gate: SymbolicTensor;
}

/** Reads (scale, gate) of attention and of the feed-forward; of a block that time does not modulate, neither. */
export function sandwichModulations(
  vectors: ListOf<SymbolicTensor, 4> | undefined,
): [SandwichModulation, SandwichModulation] | [undefined, undefined] {
  if (!vectors) return [undefined, undefined];
  const [attentionScale, attentionGate, mlpScale, mlpGate] = vectors;
  return [
    { scale: attentionScale, gate: attentionGate },
    { scale: mlpScale, gate: mlpGate },
  ];
}

export interface SandwichOptions {
  modulation: SandwichModulation | undefined;
  normBefore(x: SymbolicTensor): SymbolicTensor;
  sublayer(normed: SymbolicTensor): SymbolicTensor;
  normAfter(y: SymbolicTensor): SymbolicTensor;
}

/** x + tanh(gate) · normAfter(sublayer(normBefore(x) · (1 + scale))): the half of a block with a norm on either side. */
export function sandwichResidual(
  x: SymbolicTensor,
  { modulation, normBefore, sublayer, normAfter }: SandwichOptions,
): SymbolicTensor {
  const normed = normBefore(x);
  const out = normAfter(sublayer(modulation ? normed.mul(modulation.scale.add(1)) : normed));
  return x.add(modulation ? modulation.gate.tanh().mul(out) : out);
}

export interface ModulatedOutput {
  /** [B, D]. */
  temb: SymbolicTensor;
  outFeatures: number;
}

/** The way out of a model, by the names that most have for it: `norm_out`, which the conditioning modulates, and `proj_out`. x [B, S, D]. */
export function modulatedOutput(m: Module, x: SymbolicTensor, { temb, outFeatures }: ModulatedOutput): SymbolicTensor {
  return linear(m.at('proj_out'), adaLayerNormContinuous(m.at('norm_out'), x, temb, { epsilon: 1e-6 }), outFeatures);
}
