/**
 * The two blocks that FLUX and its relatives are made of. Text and image are two streams with weights of their own that meet in
 * attention (MM-DiT, arXiv 2403.03206), or one joined sequence whose attention and MLP run side by side (ViT-22B,
 * arXiv 2302.05442). Where modulations, tables and masks come from is the family's matter.
 */
import { concat } from '../graph/ops.ts';
import type { ListOf, SymbolicTensor } from '../graph/symbolic.ts';
import { type AttentionLayerOptions, attend, projectQkv } from './attention/attention.ts';
import { type Activation, activatedLinear, linear } from './linear.ts';
import { modulatedResidual, type SublayerModulation } from './modulation.ts';
import { layer } from './module.ts';
import { modulatedLayerNorm } from './norms.ts';

export interface Stream {
  /** [B, S, D]. */
  x: SymbolicTensor;
  /** Of attention and of the MLP. */
  modulations: ListOf<SublayerModulation, 2>;
  feedForward(normed: SymbolicTensor): SymbolicTensor;
}

export interface DualStreamOptions {
  image: Stream;
  text: Stream;
  /** Of all norms; default 1e-6. */
  epsilon?: number;
  attend(normed: { image: SymbolicTensor; text: SymbolicTensor }): {
    image: SymbolicTensor;
    text: SymbolicTensor | undefined;
  };
}

/** Both streams: modulate, attend to each other, modulate, feed forward; each step added through a gate. */
export function dualStreamBlock({ image, text, epsilon = 1e-6, attend }: DualStreamOptions) {
  const normed = ({ x, modulations: [ofAttention] }: Stream) => modulatedLayerNorm(x, ofAttention, epsilon);
  const attended = attend({ image: normed(image), text: normed(text) });
  const finish = ({ x, modulations, feedForward }: Stream, attention: SymbolicTensor) => {
    const [ofAttention, ofMlp] = modulations;
    return modulatedResidual(x.add(ofAttention.gate.mul(attention)), {
      modulation: ofMlp,
      epsilon,
      sublayer: feedForward,
    });
  };
  return {
    hidden_states: finish(image, attended.image),
    encoder_hidden_states: attended.text ? finish(text, attended.text) : text.x,
  };
}

export interface SingleStreamOptions extends Pick<AttentionLayerOptions, 'heads' | 'qkNorm' | 'rotary' | 'mask'> {
  modulation: SublayerModulation;
  /** Width of the MLP's hidden layer. */
  inner: number;
  /** Of the MLP; default tanh GELU. */
  activation?: Activation;
}

/** Attention `attn` and MLP `proj_mlp` of x [B, S, D] side by side, which share one norm and one output projection `proj_out`. */
export const singleStreamBlock = layer((m, x: SymbolicTensor, options: SingleStreamOptions): SymbolicTensor => {
  const { modulation, inner, activation = 'gelu-approximate', ...attention } = options;
  return modulatedResidual(x, {
    modulation,
    sublayer: (normed) => {
      const mlp = activatedLinear(m.at('proj_mlp'), normed, { activation, inner });
      const attended = attend({ ...projectQkv(m.at('attn'), normed, attention), ...attention });
      return linear(m.at('proj_out'), concat([attended, mlp], -1), x.dim(-1));
    },
  });
});
