/**
 * The two blocks of FLUX.1 with the names that their weights have in Diffusers, which many models have taken over. They differ in the
 * MLP, in which stream comes first, and in what makes `temb`.
 */
import { concat } from '../graph/ops.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import { jointAttention, type QkNorm } from './attention/attention.ts';
import { type AttentionInputs, attentionOptions } from './attention/attention-inputs.ts';
import { type Activation, feedForward } from './linear.ts';
import { adaLayerNormZero } from './modulation.ts';
import { layer } from './module.ts';
import { dualStreamBlock, singleStreamBlock } from './stream-blocks.ts';

/** The state that such a model passes from block to block. */
export type FluxState = AttentionInputs & {
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  /** [B, D]. */
  temb: SymbolicTensor;
};

export interface FluxBlockOptions {
  heads: number;
  /** D. */
  width: number;
  /** Width of the MLPs' hidden layers; default 4·D. */
  mlpWidth?: number;
  /** Of the MLPs; default tanh GELU. */
  activation?: Activation;
  /** Which stream comes first in the joined sequence. */
  first: 'text' | 'image';
}

const qkNorm: QkNorm = { kind: 'rms_norm', epsilon: 1e-6 };

/** Text and image keep their own weights and meet in attention. */
export const fluxDoubleBlock = layer((m, state: FluxState, options: FluxBlockOptions) => {
  const { heads, width, mlpWidth = 4 * width, activation = 'gelu-approximate', first } = options;
  const stream = (x: SymbolicTensor, names: { norm: string; feedForward: string }) => ({
    x,
    modulations: adaLayerNormZero(m.at(names.norm), state.temb, { sublayers: 2, width }),
    feedForward: (normed: SymbolicTensor) =>
      feedForward(m.at(names.feedForward), normed, { activation, inner: mlpWidth }),
  });
  return dualStreamBlock({
    image: stream(state.hidden_states, { norm: 'norm1', feedForward: 'ff' }),
    text: stream(state.encoder_hidden_states, { norm: 'norm1_context', feedForward: 'ff_context' }),
    attend: (normed) => jointAttention(m.at('attn'), { ...normed, heads, qkNorm, first, ...attentionOptions(state) }),
  });
});

/** The joined sequence through attention and MLP side by side. */
export const fluxSingleBlock = layer((m, state: FluxState, options: FluxBlockOptions) => {
  const { heads, width, mlpWidth = 4 * width, activation = 'gelu-approximate', first } = options;
  const { hidden_states: image, encoder_hidden_states: text, temb } = state;
  const [modulation] = adaLayerNormZero(m.at('norm'), temb, { sublayers: 1, width });
  const [head, tail] = first === 'text' ? [text, image] : [image, text];
  const joined = singleStreamBlock(m, concat([head, tail], 1), {
    modulation,
    inner: mlpWidth,
    activation,
    heads,
    qkNorm,
    ...attentionOptions(state),
  });
  const [headOut, tailOut] = joined.split(1, [head.dim(1), tail.dim(1)]);
  const [imageOut, textOut] = first === 'text' ? [tailOut, headOut] : [headOut, tailOut];
  return { hidden_states: imageOut, encoder_hidden_states: textOut };
});
