/**
 * FLUX.2 (Black Forest Labs, 2025), Diffusers' `Flux2Transformer2DModel`: FLUX.1 made larger and simpler.
 *
 * Notation: D = heads · head dim is the width; tokens are [text, image] at positions (time, row, column, index). No layer has a
 * bias. All double blocks share one modulation per stream and all single blocks one, made from time and guidance; pooled text is
 * gone. Single blocks project query, key, value and MLP with one matrix, and attention and MLP back with another.
 */
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attend, jointAttention } from '../../../nn/attention/attention.ts';
import {
  type AttentionInputs,
  attentionInputs,
  attentionOptions,
  attentionTensors,
} from '../../../nn/attention/attention-inputs.ts';
import { conditionEmbedding } from '../../../nn/embeddings.ts';
import { linear } from '../../../nn/linear.ts';
import { adaLayerNormSingle, modulatedResidual, sublayerModulations } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { adaLayerNormContinuous, headRmsNorm } from '../../../nn/norms.ts';
import { dualStreamBlock } from '../../../nn/stream-blocks.ts';
import { defineTransformer } from '../../definition.ts';
import { type FluxSizes, fluxInputs, fluxRotary, fluxSizes, packedTraits } from '../flux/flux-family.ts';
import { flux2Names } from './flux2-names.ts';

interface Flux2Config extends FluxSizes {
  outChannels: number;
  mlpWidth: number;
  timeFeatures: number;
  guidance: boolean;
  theta: number;
  epsilon: number;
}

type Flux2State = AttentionInputs & {
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
  /** [B, 6, D] for each stream of the double blocks, [B, 3, D] for the single blocks. */
  image_modulation: SymbolicTensor;
  text_modulation: SymbolicTensor;
  joined_modulation: SymbolicTensor;
};

/** Of every layer. */
const noBias = { bias: false };

export const flux2Transformer = defineTransformer<Flux2Config, Flux2State>({
  className: 'Flux2Transformer2DModel',
  separateCfg: false,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['time_guidance_embed.**'],
  originalNames: flux2Names,

  parseConfig(config) {
    config.requires('patch_size', 1);
    const sizes = fluxSizes(config, {
      inChannels: 128,
      doubleBlocks: 8,
      singleBlocks: 48,
      heads: 48,
      textWidth: 15360,
      axesDim: [32, 32, 32, 32],
    });
    return {
      ...sizes,
      outChannels: config.outChannels(sizes.inChannels),
      mlpWidth: Math.floor(sizes.width * config.positive('mlp_ratio', 3)),
      timeFeatures: config.count('timestep_guidance_channels', 256),
      guidance: config.boolean('guidance_embeds', true),
      theta: config.positive('rope_theta', 2000),
      epsilon: config.positive('eps', 1e-6),
    };
  },

  traits: (config) => ({ ...packedTraits(config), guidanceEmbedding: config.guidance }),

  inputs: ({ guidance, ...sizes }) => [
    ...fluxInputs(sizes),
    { name: 'guidance', kind: 'float', shape: ['batch'], optional: !guidance },
  ],

  prepare({ img_ids, txt_ids, guidance, ...tensors }, { axesDim, theta, guidance: hasGuidance }) {
    const rotary = fluxRotary({ img_ids, txt_ids }, { axesDim, theta });
    return {
      tensors: { ...tensors, ...(hasGuidance ? { guidance: guidance! } : {}), ...attentionTensors(rotary) },
    };
  },

  prologue(m, inputs, { width, timeFeatures }) {
    const temb = conditionEmbedding(
      m.at('time_guidance_embed'),
      { timestep: inputs.timestep!.mul(1000), guidance: inputs.guidance?.mul(1000) },
      { width, features: timeFeatures, ...noBias },
    );
    return {
      hidden_states: linear(m.at('x_embedder'), inputs.hidden_states!, width, noBias),
      encoder_hidden_states: linear(m.at('context_embedder'), inputs.encoder_hidden_states!, width, noBias),
      temb,
      image_modulation: adaLayerNormSingle(m.at('double_stream_modulation_img'), temb, 6, noBias),
      text_modulation: adaLayerNormSingle(m.at('double_stream_modulation_txt'), temb, 6, noBias),
      joined_modulation: adaLayerNormSingle(m.at('single_stream_modulation'), temb, 3, noBias),
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
      pattern: 3,
      count: config.singleBlocks,
      enter: (_, { hidden_states, encoder_hidden_states }) => ({
        hidden_states: concat([encoder_hidden_states, hidden_states], 1),
      }),
      block: (m, state) => singleBlock(m, state, config),
    },
  ],

  epilogue(m, { hidden_states, encoder_hidden_states, temb }, { outChannels, epsilon }) {
    const image = hidden_states.slice(1, encoder_hidden_states.dim(1));
    const normed = adaLayerNormContinuous(m.at('norm_out'), image, temb, { epsilon, ...noBias });
    return linear(m.at('proj_out'), normed, outChannels, noBias);
  },
});

/** Text and image keep their own weights and meet in attention. */
const doubleBlock = layer((m, state: Flux2State, config: Flux2Config): Partial<Flux2State> => {
  const { heads, epsilon } = config;
  const stream = (x: SymbolicTensor, modulation: SymbolicTensor, name: string) => ({
    x,
    modulations: sublayerModulations(modulation.chunk(6, 1), 2),
    feedForward: (normed: SymbolicTensor) => feedForward(m.at(name), normed, config),
  });
  return dualStreamBlock({
    image: stream(state.hidden_states, state.image_modulation, 'ff'),
    text: stream(state.encoder_hidden_states, state.text_modulation, 'ff_context'),
    epsilon,
    attend: (normed) =>
      jointAttention(m.at('attn'), {
        ...normed,
        heads,
        qkNorm: { kind: 'rms_norm', epsilon },
        first: 'text',
        projectionBias: false,
        outputBias: false,
        ...attentionOptions(state),
      }),
  });
});

/** The joined sequence [text, image] through attention and MLP side by side, which share their matrices too. */
const singleBlock = layer((m, state: Flux2State, config: Flux2Config): Partial<Flux2State> => {
  const { heads, width, mlpWidth, epsilon } = config;
  const [modulation] = sublayerModulations(state.joined_modulation.chunk(3, 1), 1);
  const parallel = m.at('attn');
  const hidden_states = modulatedResidual(state.hidden_states, {
    modulation,
    epsilon,
    sublayer: (x) => {
      const projected = linear(parallel.at('to_qkv_mlp_proj'), x, 3 * width + 2 * mlpWidth, noBias);
      const [query, key, value, mlp] = projected.split(-1, [width, width, width, 2 * mlpWidth]);
      const attended = attend({
        query: headRmsNorm(parallel.at('norm_q'), query, heads, epsilon),
        key: headRmsNorm(parallel.at('norm_k'), key, heads, epsilon),
        value,
        heads,
        ...attentionOptions(state),
      });
      return linear(parallel.at('to_out'), concat([attended, gated(mlp)], -1), width, noBias);
    },
  });
  return { hidden_states };
});

const feedForward = layer((m, x: SymbolicTensor, { width, mlpWidth }: Flux2Config): SymbolicTensor => {
  return linear(m.at('linear_out'), gated(linear(m.at('linear_in'), x, 2 * mlpWidth, noBias)), width, noBias);
});

/** SwiGLU with the gate first: silu(gate) · value. */
function gated(x: SymbolicTensor): SymbolicTensor {
  const [gate, value] = x.chunk(2);
  return gate.silu().mul(value);
}
