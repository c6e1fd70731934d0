/**
 * Krea 2 (Krea, 2026), Diffusers' `Krea2Transformer2DModel`: one stream of text and image tokens with gated attention.
 *
 * Notation: D = heads · head dim is the width; tokens are [text, image] at positions that the caller gives. The text comes as several
 * layers of a language model, [B, T, layers, C], which small blocks fuse: first over the layers of each token, then, summed, over the
 * tokens. Groups of query heads share keys and values, a sigmoid of the tokens gates what attention returns, and norms multiply by
 * 1 + weight. All blocks share six vectors made from the time and add a learned table each.
 */

import { DejaDitError } from '../../../errors/errors.ts';
import { concat, rmsNormalization } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attend, projectQkv } from '../../../nn/attention/attention.ts';
import {
  type AttentionInputs,
  attentionInputs,
  attentionOptions,
  attentionTensors,
} from '../../../nn/attention/attention-inputs.ts';
import { type KeyMask, keyMask, maskRows } from '../../../nn/attention/attention-mask.ts';
import { sinusoidalEmbedding, textProjection } from '../../../nn/embeddings.ts';
import { gatedFeedForward, linear } from '../../../nn/linear.ts';
import { scaleShiftTable } from '../../../nn/modulation.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { type Rotary, rotaryTables } from '../../../nn/rotary.ts';
import { dims, rows } from '../../../tensor/tensor.ts';
import { defineTransformer, type State } from '../../definition.ts';

interface Krea2Config {
  inChannels: number;
  blocks: number;
  width: number;
  image: BlockSizes;
  text: BlockSizes;
  textWidth: number;
  textLayers: number;
  layerwiseBlocks: number;
  refinerBlocks: number;
  timeFeatures: number;
  axesDim: readonly number[];
  theta: number;
  epsilon: number;
}

/** Of the blocks of a stream. */
interface BlockSizes {
  heads: number;
  keyValueHeads: number;
  mlpWidth: number;
}

type Krea2State = AttentionInputs & {
  /** [text, image]. */
  hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
  /** [B, 6, D]. */
  shared_modulation: SymbolicTensor;
};

export const krea2Transformer = defineTransformer<Krea2Config, Krea2State>({
  className: 'Krea2Transformer2DModel',
  separateCfg: true,
  tokens: { hidden_states: 1 },
  // The text is the states of a language model's layers, of which single channels are thousands of times the others.
  float32Modules: ['time_embed.**', 'text_fusion.**', 'txt_in.norm'],

  parseConfig(config) {
    const heads = config.count('num_attention_heads', 48);
    return {
      inChannels: config.integer('in_channels', 64),
      blocks: config.layers('num_layers', 28),
      width: heads * config.count('attention_head_dim', 128),
      image: {
        heads,
        keyValueHeads: config.count('num_key_value_heads', 12),
        mlpWidth: config.integer('intermediate_size', 16384),
      },
      text: {
        heads: config.count('text_num_attention_heads', 20),
        keyValueHeads: config.count('text_num_key_value_heads', 20),
        mlpWidth: config.integer('text_intermediate_size', 6912),
      },
      textWidth: config.integer('text_hidden_dim', 2560),
      textLayers: config.count('num_text_layers', 12),
      layerwiseBlocks: config.layers('num_layerwise_text_blocks', 2),
      refinerBlocks: config.layers('num_refiner_text_blocks', 2),
      timeFeatures: config.count('timestep_embed_dim', 256),
      axesDim: config.counts('axes_dims_rope', [32, 48, 48]),
      theta: config.positive('rope_theta', 1000),
      epsilon: config.positive('norm_eps', 1e-5),
    };
  },

  traits: ({ width, inChannels, textWidth, textLayers }) => ({
    width,
    inChannels,
    outChannels: inChannels,
    patch: [1, 1, 1],
    textWidth,
    textLayers,
  }),

  inputs: ({ inChannels, textWidth, textLayers }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'image_tokens', inChannels] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textLayers, textWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'position_ids', kind: 'float', shape: ['tokens', 3] },
    { name: 'encoder_attention_mask', kind: 'bool', shape: ['batch', 'text_tokens'], optional: true },
  ],

  prepare({ position_ids, encoder_attention_mask, ...tensors }, { axesDim, theta }) {
    const imageTokens = tensors.hidden_states!.dim(1);
    const tokens = tensors.encoder_hidden_states!.dim(1) + imageTokens;
    if (position_ids!.dim(0) !== tokens) {
      throw new DejaDitError(
        'SHAPE_MISMATCH',
        `shape [${position_ids!.shape}], expected [${tokens}, 3]: text and image`,
        {
          path: 'position_ids',
        },
      );
    }
    const kept = encoder_attention_mask && maskRows(encoder_attention_mask);
    const ofText = kept ? keyMask(kept) : {};
    const mask = kept && keyMask(kept.map((row) => [...row, ...Array<boolean>(imageTokens).fill(true)]));
    return {
      tensors: {
        ...tensors,
        ...(ofText.keys ? { text_keys: ofText.keys } : {}),
        ...(ofText.bias ? { text_bias: ofText.bias } : {}),
        ...attentionTensors(rotaryTables(rows(position_ids!), { axesDim, theta }), mask),
      },
      statics: { imageTokens },
    };
  },

  prologue(m, inputs, config) {
    const { width, timeFeatures, epsilon } = config;
    const embed = m.at('time_embed');
    const features = sinusoidalEmbedding(inputs.timestep!.mul(1000), { dim: timeFeatures });
    const temb = linear(embed.at('linear_2'), linear(embed.at('linear_1'), features, width).gelu('tanh'), width);
    const text = m.at('txt_in');
    const fused = norm(text.at('norm'), fusedText(m.at('text_fusion'), inputs, config), epsilon);
    return {
      hidden_states: concat(
        [textProjection(text, fused, 'gelu-approximate', width), linear(m.at('img_in'), inputs.hidden_states!, width)],
        1,
      ),
      temb,
      shared_modulation: linear(m.at('time_mod_proj'), temb.gelu('tanh'), 6 * width).reshape([-1, 6, width]),
      ...attentionInputs(inputs),
    };
  },

  // Positions are those of text and image tokens together.
  smallestCalls: () => [{ sizes: { tokens: 2 } }],

  blockLists: (config) => [
    { name: 'transformer_blocks', pattern: 3, count: config.blocks, block: (m, state) => krea2Block(m, state, config) },
  ],

  epilogue(m, { hidden_states, temb }, { inChannels, epsilon }, { imageTokens }) {
    const final = m.at('final_layer');
    const image = hidden_states.slice(1, hidden_states.dim(1) - Number(imageTokens));
    const [scale, shift] = scaleShiftTable(final, temb, 2);
    return linear(final.at('linear'), norm(final.at('norm'), image, epsilon).mul(scale.add(1)).add(shift), inChannels);
  },
});

/** RMSNorm that multiplies by 1 + weight. */
const norm = layer((m, x: SymbolicTensor, epsilon: number): SymbolicTensor => {
  return rmsNormalization(x, { epsilon, scale: m.weight('weight', [x.dim(-1)]).add(1) });
});

/** Layers of text [B, T, L, C] → [B, T, C]. */
const fusedText = layer((m, inputs: State, config: Krea2Config): SymbolicTensor => {
  const { text, textLayers, textWidth, layerwiseBlocks, refinerBlocks, epsilon } = config;
  const states = inputs.encoder_hidden_states!;
  const [batch, tokens] = dims(states, 4);
  let x = states.reshape([batch * tokens, textLayers, textWidth]);
  for (let i = 0; i < layerwiseBlocks; i++) x = fusionBlock(m.at(`layerwise_blocks.${i}`), x, { ...text, epsilon });
  const byChannel = x.reshape([batch, tokens, textLayers, textWidth]).transpose([0, 1, 3, 2]);
  x = linear(m.at('projector'), byChannel, 1, { bias: false }).squeeze(-1);
  const mask = { keys: inputs.text_keys, bias: inputs.text_bias };
  for (let i = 0; i < refinerBlocks; i++) x = fusionBlock(m.at(`refiner_blocks.${i}`), x, { ...text, epsilon, mask });
  return x;
});

interface GatedAttention extends BlockSizes {
  epsilon: number;
  mask?: KeyMask<SymbolicTensor>;
  rotary?: Rotary;
}

const fusionBlock = layer((m, x: SymbolicTensor, options: GatedAttention): SymbolicTensor => {
  const { epsilon, mlpWidth } = options;
  const attended = x.add(gatedAttention(m.at('attn'), norm(m.at('norm1'), x, epsilon), options));
  return attended.add(mlp(m.at('ff'), norm(m.at('norm2'), attended, epsilon), mlpWidth));
});

const krea2Block = layer((m, state: Krea2State, { image, epsilon }: Krea2Config): Partial<Krea2State> => {
  const [scale, shift, gate, mlpScale, mlpShift, mlpGate] = scaleShiftTable(m, state.shared_modulation, 6);
  const options = { ...image, epsilon, ...attentionOptions(state) };
  let x = state.hidden_states;
  const normed = norm(m.at('norm1'), x, epsilon).mul(scale.add(1)).add(shift);
  x = x.add(gate.mul(gatedAttention(m.at('attn'), normed, options)));
  const forMlp = norm(m.at('norm2'), x, epsilon).mul(mlpScale.add(1)).add(mlpShift);
  return { hidden_states: x.add(mlpGate.mul(mlp(m.at('ff'), forMlp, image.mlpWidth))) };
});

/** Attention whose result is multiplied by a sigmoid of a projection of x. */
const gatedAttention = layer((m, x: SymbolicTensor, options: GatedAttention): SymbolicTensor => {
  const { heads, keyValueHeads, epsilon, mask, rotary } = options;
  const noBias = { bias: false };
  const { query, key, value } = projectQkv(m, x, { heads, keyValueHeads, projectionBias: false });
  const normed = (name: string, y: SymbolicTensor, count: number) =>
    norm(m.at(name), y.reshape([y.dim(0), y.dim(1), count, -1]), epsilon).reshape(y.shape);
  const attended = attend({
    query: normed('norm_q', query, heads),
    key: normed('norm_k', key, keyValueHeads),
    value,
    heads,
    keyValueHeads,
    mask,
    rotary,
  });
  const gate = linear(m.at('to_gate'), x, x.dim(-1), noBias).sigmoid();
  return linear(m.at('to_out.0'), attended.mul(gate), x.dim(-1), noBias);
});

const mlp = (m: Module, x: SymbolicTensor, inner: number): SymbolicTensor =>
  gatedFeedForward(m, x, { inner, names: { gate: 'gate', value: 'up', out: 'down' }, bias: false });
