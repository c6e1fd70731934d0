/**
 * LongCat-Image (Meituan, 2025), Diffusers' `LongCatImageTransformer2DModel`: FLUX.1 without pooled text and guidance, on a language
 * model's states.
 *
 * Notation: D = heads · head dim is the width; tokens are [text, image]. Latents arrive packed, 2×2 pixels a token. Text and pictures have
 * a position axis that tells them apart; the pipeline gives all positions.
 */

import { attentionInputs, attentionTensors } from '../../../nn/attention/attention-inputs.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import type { FluxState } from '../../../nn/flux-blocks.ts';
import { linear } from '../../../nn/linear.ts';
import { modulatedOutput } from '../../../nn/modulation.ts';
import { defineTransformer } from '../../definition.ts';
import { type FluxSizes, fluxInputs, fluxRotary, fluxSizes, packedTraits } from '../flux/flux-family.ts';
import { fluxBlockLists } from '../flux/flux-lists.ts';

interface LongCatImageConfig extends FluxSizes {
  outChannels: number;
}

export const longCatImageTransformer = defineTransformer<LongCatImageConfig, FluxState>({
  className: 'LongCatImageTransformer2DModel',
  separateCfg: true,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['time_embed.**'],

  parseConfig(config) {
    const sizes = fluxSizes(config, { textWidth: 3584 });
    return { ...sizes, outChannels: config.count('patch_size', 1) ** 2 * sizes.inChannels };
  },

  traits: packedTraits,

  inputs: fluxInputs,

  prepare({ img_ids, txt_ids, ...tensors }, { axesDim }) {
    const rotary = fluxRotary({ img_ids, txt_ids }, { axesDim });
    return { tensors: { ...tensors, ...attentionTensors(rotary) } };
  },

  prologue(m, inputs, { width }) {
    const time = sinusoidalEmbedding(inputs.timestep!.mul(1000), { dim: 256 });
    return {
      hidden_states: linear(m.at('x_embedder'), inputs.hidden_states!, width),
      encoder_hidden_states: linear(m.at('context_embedder'), inputs.encoder_hidden_states!, width),
      temb: timestepEmbedding(m.at('time_embed.timestep_embedder'), time, width),
      ...attentionInputs(inputs),
    };
  },

  blockLists: (config) => fluxBlockLists({ ...config, pattern: 1, first: 'text' }),

  epilogue: (m, { hidden_states, temb }, { outChannels: outFeatures }) =>
    modulatedOutput(m, hidden_states, { temb, outFeatures }),
});
