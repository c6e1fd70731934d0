/**
 * Qwen-Image 2.1 (Alibaba, 2026), Diffusers' `QwenImage21Transformer2DModel`: one stream that goes on from where a vision-language model
 * stopped.
 *
 * Notation: D = heads · head dim is the width; tokens are text and pictures as the prompt has them, the picture to make last. A slot of the
 * prompt is a text token or four tokens (2×2) of a picture. Text sees what is before it, a picture itself and what is before it
 * ("block-causal"). All blocks share one modulation, of scales and gates (through tanh) alone; what is given is modulated as at time 0.
 */

import { concat, gather, rmsNormalization } from '../../../graph/ops.ts';
import type { ListOf, SymbolicTensor } from '../../../graph/symbolic.ts';
import { attention } from '../../../nn/attention/attention.ts';
import { maskRows } from '../../../nn/attention/attention-mask.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { gatedFeedForward, linear } from '../../../nn/linear.ts';
import { layer } from '../../../nn/module.ts';
import { modulatedLayerNorm, perToken } from '../../../nn/norms.ts';
import { rotaryTables } from '../../../nn/rotary.ts';
import { dims, floatTensor, intTensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import { packedTraits } from '../flux/flux-family.ts';
import { imageShapes } from '../qwenimage/image-shapes.ts';
import { blockCausalBias, jointTokens } from './joint-tokens.ts';

interface QwenImage21Config {
  inChannels: number;
  outChannels: number;
  blocks: number;
  heads: number;
  width: number;
  mlpWidth: number;
  textWidth: number;
  axesDim: readonly number[];
  epsilon: number;
  /** Whether what is given is modulated as at time 0. */
  causal: boolean;
}

type QwenImage21State = {
  hidden_states: SymbolicTensor;
  /** [B, D] and, if causal, a row for time 0. */
  temb: SymbolicTensor;
  /** Of every row of temb, [.., 4·D]. */
  shared_modulation: SymbolicTensor;
  /** [B, tokens]: which row of temb each token takes. */
  temb_rows?: SymbolicTensor;
  /** [1 or B, 1, S, S]. */
  attention_bias: SymbolicTensor;
  rotary_cos: SymbolicTensor;
  rotary_sin: SymbolicTensor;
};

const noBias = { bias: false };

export const qwenImage21Transformer = defineTransformer<QwenImage21Config, QwenImage21State>({
  className: 'QwenImage21Transformer2DModel',
  separateCfg: true,
  tokens: { hidden_states: 1 },
  float32Modules: ['time_text_embed.**'],

  parseConfig(config) {
    config.requires('patch_size', 1);
    const heads = config.count('num_attention_heads', 32);
    const width = heads * config.count('attention_head_dim', 128);
    const inChannels = config.integer('in_channels', 64);
    return {
      inChannels,
      outChannels: config.outChannels(inChannels, 64),
      blocks: config.layers('num_layers', 32),
      heads,
      width,
      mlpWidth: width * config.count('mlp_ratio', 3),
      textWidth: config.integer('context_in_dim', 4096),
      axesDim: config.counts('axes_dims_rope', [16, 56, 56]),
      epsilon: config.positive('eps', 1e-6),
      causal: config.boolean('causal_condition', true),
    };
  },

  traits: packedTraits,

  inputs: ({ inChannels, textWidth }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'image_tokens', inChannels] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'img_shapes', kind: 'other' },
    { name: 'img_mask', kind: 'bool', shape: ['masks', 'slots'] },
    { name: 'encoder_hidden_states_mask', kind: 'bool', shape: ['batch', 'text_tokens'], optional: true },
  ],

  prepare({ img_mask, encoder_hidden_states_mask, ...tensors }, { axesDim, causal }, { img_shapes }) {
    const [batch, imageTokens] = dims(tensors.hidden_states!, 3);
    const shapes = imageShapes(img_shapes, { batch, tokens: imageTokens });
    const textTokens = tensors.encoder_hidden_states!.dim(1);
    const tokens = jointTokens(shapes, { slots: maskRows(img_mask!)[0]!, textTokens });
    const keptText = encoder_hidden_states_mask && maskRows(encoder_hidden_states_mask);
    const rotary = rotaryTables(
      tokens.map(({ position }) => position),
      { axesDim, theta: 10000, precision: 'single' },
    );
    const target = shapes.length - 1;
    const rows = Array.from({ length: batch }, (_, sample) =>
      tokens.map(({ image }) => (image === target ? sample : batch)),
    );
    return {
      tensors: {
        ...tensors,
        joint_rows: intTensor(tokens.map(({ image, source }) => (image === undefined ? source : textTokens + source))),
        attention_bias: blockCausalBias(tokens, keptText),
        ...(causal ? { temb_rows: intTensor(rows.flat(), [batch, tokens.length]) } : {}),
        rotary_cos: rotary.cos,
        rotary_sin: rotary.sin,
      },
    };
  },

  prologue(m, inputs, { width, causal, epsilon }) {
    const text = m.at('txt_in');
    const normed = rmsNormalization(inputs.encoder_hidden_states!, {
      epsilon,
      scale: text
        .at('text_norm')
        .weight('weight', [inputs.encoder_hidden_states!.dim(-1)])
        .add(1),
    });
    const hidden = linear(text.at('in_layer'), normed, width, noBias).gelu('tanh');
    const image = linear(m.at('img_in'), inputs.hidden_states!, width, noBias);
    const times = causal ? concat([inputs.timestep!, inputs.timestep!.slice(0, 0, 1).mul(0)], 0) : inputs.timestep!;
    const temb = timestepEmbedding(
      m.at('time_text_embed.timestep_embedder'),
      sinusoidalEmbedding(times.mul(1000), { dim: 256 }),
      width,
      noBias,
    );
    return {
      hidden_states: gather(
        concat([linear(text.at('out_layer'), hidden, width, noBias), image], 1),
        inputs.joint_rows!,
        1,
      ),
      temb,
      shared_modulation: linear(m.at('modulation.1'), temb.silu(), 4 * width, noBias),
      ...(inputs.temb_rows ? { temb_rows: inputs.temb_rows } : {}),
      attention_bias: inputs.attention_bias!,
      rotary_cos: inputs.rotary_cos!,
      rotary_sin: inputs.rotary_sin!,
    };
  },

  // One text token and one slot of a picture.
  smallestCalls: () => [
    {
      sizes: { image_tokens: 4, slots: 2 },
      inputs: { img_shapes: [[[1, 2, 2]]], img_mask: floatTensor([0, 1], [1, 2]) },
    },
  ],

  blockLists: (config) => [
    { name: 'transformer_blocks', pattern: 3, count: config.blocks, block: (m, state) => qwenBlock(m, state, config) },
  ],

  epilogue(m, { hidden_states, temb, temb_rows }, { width, outChannels, epsilon }) {
    const scale = perToken(linear(m.at('norm_out.linear'), temb.silu(), width, noBias), temb_rows);
    return linear(m.at('proj_out'), modulatedLayerNorm(hidden_states, { scale }, epsilon), outChannels, noBias);
  },
});

const qwenBlock = layer((m, state: QwenImage21State, config: QwenImage21Config): Partial<QwenImage21State> => {
  const { heads, mlpWidth, epsilon } = config;
  const { attention_bias: bias, rotary_cos: cos, rotary_sin: sin } = state;
  const vectors = state.shared_modulation.chunk(4).map((vector) => perToken(vector, state.temb_rows));
  const [scale, gate, mlpScale, mlpGate] = vectors as ListOf<SymbolicTensor, 4>;
  let x = state.hidden_states;
  const attended = attention(m.at('attn'), modulatedLayerNorm(x, { scale }, epsilon), {
    heads,
    qkNorm: { kind: 'rms_norm', epsilon },
    projectionBias: false,
    outputBias: false,
    rotary: { cos, sin },
    bias,
  });
  x = x.add(gate.tanh().mul(attended));
  const mlp = gatedFeedForward(m.at('img_mlp'), modulatedLayerNorm(x, { scale: mlpScale }, epsilon), {
    inner: mlpWidth,
    names: { gate: 'gate_layer', value: 'proj', out: 'out' },
    ...noBias,
  });
  return { hidden_states: x.add(mlpGate.tanh().mul(mlp)) };
});
