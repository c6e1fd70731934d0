import { attentionInputs, attentionTensors } from '../../../nn/attention/attention-inputs.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import type { FluxState } from '../../../nn/flux-blocks.ts';
import { linear } from '../../../nn/linear.ts';
import { modulatedOutput } from '../../../nn/modulation.ts';
import { rmsNorm } from '../../../nn/norms.ts';
import { defineTransformer } from '../../definition.ts';
import { type FluxSizes, fluxInputs, fluxRotary, fluxSizes, packedTraits } from '../flux/flux-family.ts';
import { fluxBlockLists } from '../flux/flux-lists.ts';

interface OvisImageConfig extends FluxSizes {
  outChannels: number;
}

export const ovisImageTransformer = defineTransformer<OvisImageConfig, FluxState>({
  className: 'OvisImageTransformer2DModel',
  separateCfg: true,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['timestep_embedder.**'],

  parseConfig(config) {
    const sizes = fluxSizes(config, { doubleBlocks: 6, singleBlocks: 27, textWidth: 2048 });
    const outChannels = config.outChannels(sizes.inChannels, 64);
    return { ...sizes, outChannels: config.count('patch_size', 1) ** 2 * outChannels };
  },

  traits: packedTraits,

  inputs: fluxInputs,

  prepare({ img_ids, txt_ids, ...tensors }, { axesDim }) {
    const rotary = fluxRotary({ img_ids, txt_ids }, { axesDim });
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

  blockLists: (config) => fluxBlockLists({ ...config, pattern: 1, activation: 'swiglu', first: 'text' }),

  epilogue: (m, { hidden_states, temb }, { outChannels: outFeatures }) =>
    modulatedOutput(m, hidden_states, { temb, outFeatures }),
});
