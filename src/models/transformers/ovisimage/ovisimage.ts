import { attentionInputs, attentionTensors } from '../../../nn/attention/attention-inputs.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import type { FluxState } from '../../../nn/flux-blocks.ts';
import { linear } from '../../../nn/linear.ts';
import { modulatedOutput } from '../../../nn/modulation.ts';
import { rmsNorm } from '../../../nn/norms.ts';
import { rotaryTables } from '../../../nn/rotary.ts';
import { rows } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import { fluxBlockLists } from '../flux/flux-lists.ts';

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

export const ovisImageTransformer = defineTransformer<OvisImageConfig, FluxState>({
  className: 'OvisImageTransformer2DModel',
  separateCfg: true,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['timestep_embedder.**'],

  parseConfig(config) {
    const heads = config.count('num_attention_heads', 24);
    const inChannels = config.integer('in_channels', 64);
    const outChannels = config.outChannels(inChannels, 64);
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

  traits: ({ width, inChannels, outChannels, textWidth }) => ({
    width,
    inChannels,
    outChannels,
    patch: [1, 1, 1],
    textWidth,
  }),

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

  blockLists: (config) => fluxBlockLists({ ...config, pattern: 1, activation: 'swiglu', first: 'text' }),

  epilogue: (m, { hidden_states, temb }, { outChannels: outFeatures }) =>
    modulatedOutput(m, hidden_states, { temb, outFeatures }),
});
