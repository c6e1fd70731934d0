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
import { defineTransformer } from '../../definition.ts';
import { type FluxSizes, fluxInputs, fluxRotary, fluxSizes, packedTraits } from '../flux/flux-family.ts';
import { fluxBlockLists } from '../flux/flux-lists.ts';

interface BriaConfig extends FluxSizes {
  outChannels: number;
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
    const sizes = fluxSizes(config);
    return {
      ...sizes,
      outChannels: config.count('patch_size', 1) ** 2 * sizes.inChannels,
      theta: config.positive('rope_theta', 10000),
      timeTheta: config.positive('time_theta', 10000),
    };
  },

  traits: packedTraits,

  inputs: fluxInputs,

  prepare({ img_ids, txt_ids, ...tensors }, { axesDim, theta }) {
    const rotary = fluxRotary({ img_ids, txt_ids }, { axesDim, theta });
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
