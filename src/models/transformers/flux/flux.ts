/**
 * FLUX.1 (Black Forest Labs, 2024), Diffusers' `FluxTransformer2DModel`: a rectified-flow transformer that reads text and
 * image as one sequence.
 *
 * Notation: D = heads · head dim is the width; tokens are always [text, image]. Image latents arrive packed, 2×2 pixels a token.
 * The first blocks ("double") keep separate weights for the two streams and meet only in attention; the last ("single")
 * treat the joined sequence alike. Every block is modulated by `temb`, the sum of time, guidance and pooled-text embeddings.
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
import { conditionEmbedding } from '../../../nn/embeddings.ts';
import { feedForward, linear } from '../../../nn/linear.ts';
import { adaLayerNormZero } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { adaLayerNormContinuous } from '../../../nn/norms.ts';
import { rotaryTables } from '../../../nn/rotary.ts';
import { dualStreamBlock, singleStreamBlock } from '../../../nn/stream-blocks.ts';
import { rows } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import { fluxNames } from './flux-names.ts';

interface FluxConfig {
  inChannels: number;
  outChannels: number;
  doubleBlocks: number;
  singleBlocks: number;
  heads: number;
  headDim: number;
  width: number;
  textWidth: number;
  pooledWidth: number;
  guidance: boolean;
  axesDim: readonly number[];
}

type FluxState = AttentionInputs & {
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
};

const qkNorm: QkNorm = { kind: 'rms_norm', epsilon: 1e-6 };

export const fluxTransformer = defineTransformer<FluxConfig, FluxState>({
  className: 'FluxTransformer2DModel',
  separateCfg: false,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  originalNames: fluxNames,
  cacheGroups: [['transformer_blocks', 'single_transformer_blocks']],

  parseConfig(config) {
    config.requires('patch_size', 1);
    const heads = config.count('num_attention_heads', 24);
    const headDim = config.count('attention_head_dim', 128);
    const inChannels = config.integer('in_channels', 64);
    return {
      inChannels,
      outChannels: config.nullable('out_channels', (name) => config.integer(name)) ?? inChannels,
      doubleBlocks: config.layers('num_layers', 19),
      singleBlocks: config.layers('num_single_layers', 38),
      heads,
      headDim,
      width: heads * headDim,
      textWidth: config.integer('joint_attention_dim', 4096),
      pooledWidth: config.integer('pooled_projection_dim', 768),
      guidance: config.boolean('guidance_embeds', false),
      axesDim: config.counts('axes_dims_rope', [16, 56, 56]),
    };
  },

  traits: ({ width, inChannels, outChannels, textWidth, guidance }) => ({
    width,
    inChannels,
    outChannels,
    patch: [1, 1, 1],
    textWidth,
    guidanceEmbedding: guidance,
  }),

  inputs: ({ inChannels, textWidth, pooledWidth, guidance, axesDim }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'image_tokens', inChannels] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'pooled_projections', kind: 'float', shape: ['batch', pooledWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'img_ids', kind: 'float', shape: ['image_tokens', axesDim.length] },
    { name: 'txt_ids', kind: 'float', shape: ['text_tokens', axesDim.length] },
    { name: 'guidance', kind: 'float', shape: ['batch'], optional: !guidance },
  ],

  /** Rotary angles depend on the positions alone: text sits at position 0, image tokens at (0, row, column). */
  prepare({ img_ids, txt_ids, guidance, ...tensors }, config) {
    const rotary = rotaryTables([...rows(txt_ids!), ...rows(img_ids!)], { axesDim: config.axesDim, theta: 10000 });
    return {
      tensors: { ...tensors, ...(config.guidance ? { guidance: guidance! } : {}), ...attentionTensors(rotary) },
    };
  },

  prologue(m, inputs, { width }) {
    const temb = conditionEmbedding(
      m.at('time_text_embed'),
      {
        timestep: inputs.timestep!.mul(1000),
        guidance: inputs.guidance?.mul(1000),
        pooled: inputs.pooled_projections!,
      },
      { width },
    );
    return {
      hidden_states: linear(m.at('x_embedder'), inputs.hidden_states!, width),
      encoder_hidden_states: linear(m.at('context_embedder'), inputs.encoder_hidden_states!, width),
      temb,
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
    return linear(
      m.at('proj_out'),
      adaLayerNormContinuous(m.at('norm_out'), hidden_states, temb, { epsilon: 1e-6 }),
      outChannels,
    );
  },
});

/** Text and image keep their own weights and meet in attention. */
const doubleBlock = layer((m, state: FluxState, { heads, width }: FluxConfig): Partial<FluxState> => {
  const { hidden_states, encoder_hidden_states, temb } = state;
  const stream = (x: SymbolicTensor, names: { norm: string; feedForward: string }) => ({
    x,
    modulations: adaLayerNormZero(m.at(names.norm), temb, { sublayers: 2, width }),
    feedForward: (normed: SymbolicTensor) =>
      feedForward(m.at(names.feedForward), normed, { activation: 'gelu-approximate', inner: 4 * width }),
  });
  return dualStreamBlock({
    image: stream(hidden_states, { norm: 'norm1', feedForward: 'ff' }),
    text: stream(encoder_hidden_states, { norm: 'norm1_context', feedForward: 'ff_context' }),
    attend: (normed) =>
      jointAttention(m.at('attn'), { ...normed, heads, qkNorm, first: 'text', ...attentionOptions(state) }),
  });
});

/** The joined sequence [text, image] through attention and MLP side by side. */
const singleBlock = layer((m, state: FluxState, { heads, width }: FluxConfig): Partial<FluxState> => {
  const { hidden_states, encoder_hidden_states, temb } = state;
  const [modulation] = adaLayerNormZero(m.at('norm'), temb, { sublayers: 1, width });
  const joined = singleStreamBlock(m, concat([encoder_hidden_states, hidden_states], 1), {
    modulation,
    inner: 4 * width,
    heads,
    qkNorm,
    ...attentionOptions(state),
  });
  const [text, image] = joined.split(1, [encoder_hidden_states.dim(1), hidden_states.dim(1)]);
  return { hidden_states: image, encoder_hidden_states: text };
});
