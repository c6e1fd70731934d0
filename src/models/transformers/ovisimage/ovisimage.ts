/**
 * Ovis-Image (Alibaba, 2025), Diffusers' `OvisImageTransformer2DModel`: FLUX.1 with gated MLPs and a single text encoder.
 *
 * Notation: D = heads · head dim is the width; tokens are [text, image]. Latents arrive packed, 2×2 pixels a token. Blocks are
 * modulated by the time alone, and the states of the language model are normalised before they are projected.
 */

import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { jointAttention, type QkNorm } from '../../../nn/attention/attention.ts';
import {
  type AttentionInputs,
  attentionInputs,
  attentionOptions,
  attentionTensors,
} from '../../../nn/attention/attention-inputs.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { feedForward, linear } from '../../../nn/linear.ts';
import { adaLayerNormZero } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { adaLayerNormContinuous, rmsNorm } from '../../../nn/norms.ts';
import { rotaryTables } from '../../../nn/rotary.ts';
import { dualStreamBlock, singleStreamBlock } from '../../../nn/stream-blocks.ts';
import { rows } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';

interface OvisImageConfig {
  inChannels: number;
  outChannels: number;
  doubleBlocks: number;
  singleBlocks: number;
  heads: number;
  width: number;
  textWidth: number;
  axesDim: readonly number[];
}

type OvisImageState = AttentionInputs & {
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
};

const qkNorm: QkNorm = { kind: 'rms_norm', epsilon: 1e-6 };

export const ovisImageTransformer = defineTransformer<OvisImageConfig, OvisImageState>({
  className: 'OvisImageTransformer2DModel',
  separateCfg: true,

  parseConfig(config) {
    const heads = config.count('num_attention_heads', 24);
    const inChannels = config.integer('in_channels', 64);
    const outChannels = config.nullable('out_channels', (name) => config.integer(name)) ?? inChannels;
    return {
      inChannels,
      outChannels: config.count('patch_size', 1) ** 2 * outChannels,
      doubleBlocks: config.layers('num_layers', 6),
      singleBlocks: config.layers('num_single_layers', 27),
      heads,
      width: heads * config.count('attention_head_dim', 128),
      textWidth: config.integer('joint_attention_dim', 2048),
      axesDim: config.counts('axes_dims_rope', [16, 56, 56]),
    };
  },

  inputs: ({ inChannels, textWidth, axesDim }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'image_tokens', inChannels] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'img_ids', kind: 'float', shape: ['image_tokens', axesDim.length] },
    { name: 'txt_ids', kind: 'float', shape: ['text_tokens', axesDim.length] },
  ],

  prepare({ img_ids, txt_ids, ...tensors }, { axesDim }) {
    const rotary = rotaryTables([...rows(txt_ids!), ...rows(img_ids!)], { axesDim, theta: 10000 });
    return { tensors: { ...tensors, ...attentionTensors(rotary) } };
  },

  prologue(m, inputs, { width }) {
    const text = rmsNorm(m.at('context_embedder_norm'), inputs.encoder_hidden_states!, 1e-6);
    const time = sinusoidalEmbedding(inputs.timestep!.mul(1000), { dim: 256 });
    return {
      hidden_states: linear(m.at('x_embedder'), inputs.hidden_states!, width),
      encoder_hidden_states: linear(m.at('context_embedder'), text, width),
      temb: timestepEmbedding(m.at('timestep_embedder'), time, width),
      ...attentionInputs(inputs),
    };
  },

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 1,
      count: config.doubleBlocks,
      block: (m, state) => doubleBlock(m, state, config),
    },
    {
      name: 'single_transformer_blocks',
      pattern: 1,
      count: config.singleBlocks,
      block: (m, state) => singleBlock(m, state, config),
    },
  ],

  epilogue(m, { hidden_states, temb }, { outChannels }) {
    const normed = adaLayerNormContinuous(m.at('norm_out'), hidden_states, temb, { epsilon: 1e-6 });
    return linear(m.at('proj_out'), normed, outChannels);
  },
});

/** Text and image keep their own weights and meet in attention. */
const doubleBlock = layer((m, state: OvisImageState, { heads, width }: OvisImageConfig): Partial<OvisImageState> => {
  const { hidden_states, encoder_hidden_states, temb } = state;
  const stream = (x: SymbolicTensor, names: { norm: string; feedForward: string }) => ({
    x,
    modulations: adaLayerNormZero(m.at(names.norm), temb, { sublayers: 2, width }),
    feedForward: (normed: SymbolicTensor) =>
      feedForward(m.at(names.feedForward), normed, { activation: 'swiglu', inner: 4 * width }),
  });
  return dualStreamBlock({
    image: stream(hidden_states, { norm: 'norm1', feedForward: 'ff' }),
    text: stream(encoder_hidden_states, { norm: 'norm1_context', feedForward: 'ff_context' }),
    attend: (normed) =>
      jointAttention(m.at('attn'), { ...normed, heads, qkNorm, first: 'text', ...attentionOptions(state) }),
  });
});

/** The joined sequence [text, image] through attention and MLP side by side. */
const singleBlock = layer((m, state: OvisImageState, { heads, width }: OvisImageConfig): Partial<OvisImageState> => {
  const { hidden_states, encoder_hidden_states, temb } = state;
  const [modulation] = adaLayerNormZero(m.at('norm'), temb, { sublayers: 1, width });
  const joined = singleStreamBlock(m, concat([encoder_hidden_states, hidden_states], 1), {
    modulation,
    inner: 4 * width,
    activation: 'swiglu',
    heads,
    qkNorm,
    ...attentionOptions(state),
  });
  const [text, image] = joined.split(1, [encoder_hidden_states.dim(1), hidden_states.dim(1)]);
  return { hidden_states: image, encoder_hidden_states: text };
});
