/**
 * Stable Audio Open (Stability AI, 2024, arXiv 2407.14358), Diffusers' `StableAudioDiTModel`: a transformer over the latents of sound.
 *
 * Notation: D = heads · head dim is the width; latents are [B, C, L]. Nothing is modulated: the time and the global condition (text
 * and seconds) are a token that comes first, and text is read by cross-attention with fewer heads for its keys and values. Rotary
 * positions come from the caller and turn the first part of each head.
 */

import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attention } from '../../../nn/attention/attention.ts';
import { type AttentionInputs, attentionInputs, attentionTensors } from '../../../nn/attention/attention-inputs.ts';
import { convolution } from '../../../nn/conv.ts';
import { type BiasOption, feedForward, linear } from '../../../nn/linear.ts';
import { layer } from '../../../nn/module.ts';
import { layerNorm } from '../../../nn/norms.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import { rotaryInput } from '../../rotary-input.ts';

interface StableAudioConfig {
  inChannels: number;
  outChannels: number;
  blocks: number;
  heads: number;
  keyValueHeads: number;
  headDim: number;
  width: number;
  textWidth: number;
  /** Of the text as blocks see it. */
  crossWidth: number;
  globalWidth: number;
  timeFeatures: number;
}

type StableAudioState = Partial<AttentionInputs> & {
  /** [global, sound]. */
  hidden_states: SymbolicTensor;
  /** Projected text, the same for all blocks. */
  encoder_hidden_states: SymbolicTensor;
};

const noBias = { bias: false };

export const stableAudioTransformer = defineTransformer<StableAudioConfig, StableAudioState>({
  className: 'StableAudioDiTModel',
  separateCfg: false,
  tokens: { hidden_states: 1 },
  float32Modules: ['time_proj.**', 'timestep_proj.**'],

  parseConfig(config) {
    const heads = config.count('num_attention_heads', 24);
    const headDim = config.count('attention_head_dim', 64);
    return {
      inChannels: config.integer('in_channels', 64),
      outChannels: config.integer('out_channels', 64),
      blocks: config.layers('num_layers', 24),
      heads,
      keyValueHeads: config.count('num_key_value_attention_heads', 12),
      headDim,
      width: heads * headDim,
      textWidth: config.integer('cross_attention_input_dim', 768),
      crossWidth: config.integer('cross_attention_dim', 768),
      globalWidth: config.integer('global_states_input_dim', 1536),
      timeFeatures: config.count('time_proj_dim', 256),
    };
  },

  inputs: ({ inChannels, textWidth, globalWidth }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'length'] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'global_hidden_states', kind: 'float', shape: ['batch', 1, globalWidth] },
    { name: 'rotary_embedding', kind: 'other', optional: true },
  ],

  prepare(tensors, { headDim }, { rotary_embedding }) {
    const first = Array.isArray(rotary_embedding) ? rotary_embedding[0] : undefined;
    const width = first instanceof Tensor ? Math.min(first.dim(-1), headDim) : headDim;
    const rotary =
      rotary_embedding &&
      rotaryInput(rotary_embedding, {
        name: 'rotary_embedding',
        tokens: tensors.hidden_states!.dim(2) + 1,
        width,
        interleaved: false,
      });
    return { tensors: { ...tensors, ...(rotary ? attentionTensors(rotary) : {}) } };
  },

  prologue(m, inputs, config) {
    const { inChannels, width, crossWidth, timeFeatures } = config;
    const mlp = (name: string, x: SymbolicTensor, out: number, bias: BiasOption) =>
      linear(m.at(`${name}.2`), linear(m.at(`${name}.0`), x, out, bias).silu(), out, bias);
    const frequencies = m.weight('time_proj.weight', [timeFeatures / 2]).reshape([1, timeFeatures / 2]);
    const angles = inputs
      .timestep!.mul(2 * Math.PI)
      .unsqueeze(1)
      .mul(frequencies);
    const time = mlp('timestep_proj', concat([angles.cos(), angles.sin()], -1), width, {});
    const condition = mlp('global_proj', inputs.global_hidden_states!, width, noBias).add(time.unsqueeze(1));
    const latents = inputs.hidden_states!;
    const pre = convolution(m.at('preprocess_conv'), latents, { outChannels: inChannels, kernel: 1, ...noBias });
    const sound = linear(m.at('proj_in'), latents.add(pre).transpose([0, 2, 1]), width, noBias);
    return {
      hidden_states: concat([condition, sound], 1),
      encoder_hidden_states: mlp('cross_attention_proj', inputs.encoder_hidden_states!, crossWidth, noBias),
      ...(inputs.rotary_cos ? attentionInputs(inputs) : {}),
    };
  },

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 3,
      count: config.blocks,
      block: (m, state) => stableAudioBlock(m, state, config),
    },
  ],

  epilogue(m, { hidden_states }, { outChannels }) {
    const sound = linear(m.at('proj_out'), hidden_states.slice(1, 1), outChannels, noBias).transpose([0, 2, 1]);
    return sound.add(convolution(m.at('postprocess_conv'), sound, { outChannels, kernel: 1, ...noBias }));
  },
});

/** Self-attention, attention to the text, feed-forward. */
const stableAudioBlock = layer((m, state: StableAudioState, config: StableAudioConfig): Partial<StableAudioState> => {
  const { heads, keyValueHeads, width } = config;
  const { rotary_cos: cos, rotary_sin: sin, encoder_hidden_states: context } = state;
  const options = { heads, projectionBias: false, outputBias: false };
  const norm = (name: string, x: SymbolicTensor) => layerNorm(m.at(name), x, 1e-5);
  let x = state.hidden_states;
  const rotary = cos && sin && { cos, sin, interleaved: false };
  x = x.add(attention(m.at('attn1'), norm('norm1', x), { ...options, rotary }));
  x = x.add(attention(m.at('attn2'), norm('norm2', x), { ...options, keyValueHeads, context }));
  x = x.add(feedForward(m.at('ff'), norm('norm3', x), { activation: 'swiglu', inner: 4 * width }));
  return { hidden_states: x };
});
