/**
 * Bria 3.2 (Bria AI, 2025), Diffusers' `BriaTransformer2DModel`: FLUX.1 without pooled text and guidance.
 *
 * Notation: D = heads · head dim is the width; tokens are [text, image]. Latents arrive packed, 2×2 pixels a token, and the time as the
 * scheduler counts it, from 0 to 1000.
 */

import { attentionInputs, attentionTensors } from '../../../nn/attention/attention-inputs.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import type { FluxState } from '../../../nn/flux-blocks.ts';
import { linear } from '../../../nn/linear.ts';
import { modulatedOutput } from '../../../nn/modulation.ts';
import { rotaryTables, sharedPositions } from '../../../nn/rotary.ts';
import { defineTransformer } from '../../definition.ts';
import { fluxBlockLists } from '../flux/flux-lists.ts';

interface BriaConfig {
  inChannels: number;
  outChannels: number;
  doubleBlocks: number;
  singleBlocks: number;
  heads: number;
  width: number;
  textWidth: number;
  axesDim: readonly number[];
  theta: number;
  timeTheta: number;
}

export const briaTransformer = defineTransformer<BriaConfig, FluxState>({
  className: 'BriaTransformer2DModel',
  separateCfg: false,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['time_embed.**'],

  parseConfig(config) {
    config.requires('guidance_embeds', false);
    const heads = config.count('num_attention_heads', 24);
    const inChannels = config.integer('in_channels', 64);
    return {
      inChannels,
      outChannels: config.count('patch_size', 1) ** 2 * inChannels,
      doubleBlocks: config.layers('num_layers', 19),
      singleBlocks: config.layers('num_single_layers', 38),
      heads,
      width: heads * config.count('attention_head_dim', 128),
      textWidth: config.integer('joint_attention_dim', 4096),
      axesDim: config.counts('axes_dims_rope', [16, 56, 56]),
      theta: config.positive('rope_theta', 10000),
      timeTheta: config.positive('time_theta', 10000),
    };
  },

  traits: ({ width, inChannels, outChannels, textWidth }) => ({
    width,
    inChannels,
    outChannels,
    textWidth,
    patch: [1, 1, 1],
  }),

  inputs: ({ inChannels, textWidth, axesDim: { length: axes } }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'image_tokens', inChannels] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'img_ids', kind: 'float', shape: ['image_tokens', axes], orShape: ['batch', 'image_tokens', axes] },
    { name: 'txt_ids', kind: 'float', shape: ['text_tokens', axes], orShape: ['batch', 'text_tokens', axes] },
  ],

  prepare({ img_ids, txt_ids, ...tensors }, { axesDim, theta }) {
    const rotary = rotaryTables([...sharedPositions(txt_ids!), ...sharedPositions(img_ids!)], { axesDim, theta });
    return { tensors: { ...tensors, ...attentionTensors(rotary) } };
  },

  prologue(m, inputs, { width, timeTheta }) {
    const time = sinusoidalEmbedding(inputs.timestep!, { dim: 256, maxPeriod: timeTheta });
    return {
      hidden_states: linear(m.at('x_embedder'), inputs.hidden_states!, width),
      encoder_hidden_states: linear(m.at('context_embedder'), inputs.encoder_hidden_states!, width),
      temb: timestepEmbedding(m.at('time_embed.timestep_embedder'), time, width),
      ...attentionInputs(inputs),
    };
  },

  blockLists: (config) => fluxBlockLists({ ...config, pattern: 0, first: 'text' }),

  epilogue: (m, { hidden_states, temb }, { outChannels: outFeatures }) =>
    modulatedOutput(m, hidden_states, { temb, outFeatures }),
});
