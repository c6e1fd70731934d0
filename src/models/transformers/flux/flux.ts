import { attentionInputs, attentionTensors } from '../../../nn/attention/attention-inputs.ts';
import { conditionEmbedding } from '../../../nn/embeddings.ts';
import type { FluxState } from '../../../nn/flux-blocks.ts';
import { linear } from '../../../nn/linear.ts';
import { modulatedOutput } from '../../../nn/modulation.ts';
import { rotaryTables } from '../../../nn/rotary.ts';
import { rows } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import { fluxBlockLists } from './flux-lists.ts';
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

export const fluxTransformer = defineTransformer<FluxConfig, FluxState>({
  className: 'FluxTransformer2DModel',
  separateCfg: false,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['time_text_embed.**'],
  originalNames: fluxNames,
  cacheGroups: [['transformer_blocks', 'single_transformer_blocks']],

  parseConfig(config) {
    config.requires('patch_size', 1);
    const heads = config.count('num_attention_heads', 24);
    const headDim = config.count('attention_head_dim', 128);
    const inChannels = config.integer('in_channels', 64);
    return {
      inChannels,
      outChannels: config.outChannels(inChannels),
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

  blockLists: (config) => fluxBlockLists({ ...config, pattern: 1, first: 'text' }),

  epilogue: (m, { hidden_states, temb }, { outChannels: outFeatures }) =>
    modulatedOutput(m, hidden_states, { temb, outFeatures }),
});
