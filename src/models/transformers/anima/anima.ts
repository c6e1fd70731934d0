/**
 * Anima's text conditioner (CircleStone Labs, 2026), Diffusers' `AnimaTextConditioner`: makes of T5's token ids and the states of Qwen3 the
 * text that Anima's Cosmos transformer was trained on.
 *
 * Notation: D = `model_dim` is the width. The target, embedded token ids, attends to itself and to the source, the states of the language
 * model; each counts its own rotary positions. The result is padded with zeros to a least length.
 */
import { pad } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attend, projectQkv, type QkNorm } from '../../../nn/attention/attention.ts';
import { type KeyMask, keyMask, maskRows } from '../../../nn/attention/attention-mask.ts';
import { embedding } from '../../../nn/embeddings.ts';
import { linear } from '../../../nn/linear.ts';
import { layer } from '../../../nn/module.ts';
import { layerNorm, rmsNorm } from '../../../nn/norms.ts';
import { applyRotary, type Rotary, rotaryTables } from '../../../nn/rotary.ts';
import { dims, type Tensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';

interface AnimaConfig {
  sourceWidth: number;
  targetWidth: number;
  width: number;
  blocks: number;
  heads: number;
  mlpWidth: number;
  vocabulary: number;
  selfAttention: boolean;
  /** LayerNorms in place of RMSNorms. */
  layerNorms: boolean;
  minTokens: number;
}

type AnimaState = {
  /** The target. */
  hidden_states: SymbolicTensor;
  /** The source, the same for all blocks. */
  encoder_hidden_states: SymbolicTensor;
  target_cos: SymbolicTensor;
  target_sin: SymbolicTensor;
  source_cos: SymbolicTensor;
  source_sin: SymbolicTensor;
} & Partial<Record<'target_keys' | 'target_bias' | 'source_keys' | 'source_bias' | 'target_kept', SymbolicTensor>>;

const epsilon = 1e-6;
const optional = ['target_keys', 'target_bias', 'source_keys', 'source_bias', 'target_kept'] as const;
const names = { query: 'q_proj', key: 'k_proj', value: 'v_proj', queryNorm: 'q_norm', keyNorm: 'k_norm' };

export const animaTextConditioner = defineTransformer<AnimaConfig, AnimaState>({
  className: 'AnimaTextConditioner',
  separateCfg: false,
  tokens: { hidden_states: 1 },

  parseConfig: (config) => {
    const width = config.integer('model_dim', 1024);
    return {
      sourceWidth: config.integer('source_dim', 1024),
      targetWidth: config.integer('target_dim', 1024),
      width,
      blocks: config.layers('num_layers', 6),
      heads: config.count('num_attention_heads', 16),
      mlpWidth: Math.floor(width * config.positive('mlp_ratio', 4)),
      vocabulary: config.integer('target_vocab_size', 32128),
      selfAttention: config.boolean('use_self_attention', true),
      layerNorms: config.boolean('use_layer_norm', false),
      minTokens: config.count('min_sequence_length', 512),
    };
  },

  inputs: ({ sourceWidth }) => [
    { name: 'source_hidden_states', kind: 'float', shape: ['batch', 'source_tokens', sourceWidth] },
    { name: 'target_input_ids', kind: 'int', shape: ['batch', 'target_tokens'] },
    { name: 'target_attention_mask', kind: 'bool', shape: ['batch', 'target_tokens'], optional: true },
    { name: 'source_attention_mask', kind: 'bool', shape: ['batch', 'source_tokens'], optional: true },
  ],

  prepare({ target_attention_mask, source_attention_mask, ...tensors }, { width, heads }) {
    const tables = (tokens: number) =>
      rotaryTables(
        Array.from({ length: tokens }, (_, i) => [i]),
        { axesDim: [width / heads], theta: 10000, precision: 'single' },
      );
    const [batch, targetTokens] = dims(tensors.target_input_ids!, 2);
    const [target, source] = [tables(targetTokens), tables(tensors.source_hidden_states!.dim(1))];
    const masked = (name: 'target' | 'source', mask: Tensor | undefined) => {
      const { keys, bias } = mask ? keyMask(maskRows(mask)) : {};
      return { ...(keys ? { [`${name}_keys`]: keys } : {}), ...(bias ? { [`${name}_bias`]: bias } : {}) };
    };
    return {
      tensors: {
        ...tensors,
        target_cos: target.cos,
        target_sin: target.sin,
        source_cos: source.cos,
        source_sin: source.sin,
        ...masked('target', target_attention_mask),
        ...masked('source', source_attention_mask),
        ...(target_attention_mask
          ? { target_kept: target_attention_mask.float().reshape([batch, targetTokens, 1]) }
          : {}),
      },
    };
  },

  prologue(m, inputs, { width, targetWidth, vocabulary }) {
    const embedded = embedding(m.at('embed'), inputs.target_input_ids!, { count: vocabulary, width: targetWidth });
    return {
      hidden_states: width === targetWidth ? embedded : linear(m.at('in_proj'), embedded, width),
      encoder_hidden_states: inputs.source_hidden_states!,
      target_cos: inputs.target_cos!,
      target_sin: inputs.target_sin!,
      source_cos: inputs.source_cos!,
      source_sin: inputs.source_sin!,
      ...Object.fromEntries(optional.flatMap((name) => (inputs[name] ? [[name, inputs[name]]] : []))),
    };
  },

  blockLists: (config) => [
    { name: 'blocks', pattern: 3, count: config.blocks, block: (m, state) => animaBlock(m, state, config) },
  ],

  epilogue(m, { hidden_states, target_kept }, { targetWidth, minTokens }) {
    const normed = rmsNorm(m.at('norm'), linear(m.at('out_proj'), hidden_states, targetWidth), epsilon);
    const kept = target_kept ? normed.mul(target_kept) : normed;
    return pad(kept, [0, 0, 0, 0, Math.max(minTokens - kept.dim(1), 0), 0]);
  },
});

/** Self-attention, attention to the source, feed-forward. */
const animaBlock = layer((m, state: AnimaState, config: AnimaConfig): Partial<AnimaState> => {
  const { width, mlpWidth, selfAttention, layerNorms } = config;
  const norm = (name: string, x: SymbolicTensor) =>
    layerNorms ? layerNorm(m.at(name), x, 1e-5) : rmsNorm(m.at(name), x, epsilon);
  const target = { cos: state.target_cos, sin: state.target_sin, interleaved: false };
  const source = { cos: state.source_cos, sin: state.source_sin, interleaved: false };
  let x = state.hidden_states;
  if (selfAttention) {
    const normed = norm('norm_self_attn', x);
    const mask = { keys: state.target_keys, bias: state.target_bias };
    x = x.add(animaAttention(m.at('self_attn'), normed, { context: normed, places: [target, target], mask, config }));
  }
  const mask = { keys: state.source_keys, bias: state.source_bias };
  const context = state.encoder_hidden_states;
  x = x.add(
    animaAttention(m.at('cross_attn'), norm('norm_cross_attn', x), { context, places: [target, source], mask, config }),
  );
  const hidden = linear(m.at('mlp.0'), norm('norm_mlp', x), mlpWidth).gelu();
  return { hidden_states: x.add(linear(m.at('mlp.2'), hidden, width)) };
});

interface AnimaAttention {
  context: SymbolicTensor;
  /** Of queries and of keys. */
  places: readonly [Rotary, Rotary];
  mask: KeyMask<SymbolicTensor>;
  config: AnimaConfig;
}

const animaAttention = layer(
  (m, x: SymbolicTensor, { context, places, mask, config }: AnimaAttention): SymbolicTensor => {
    const { heads, width } = config;
    const qkNorm: QkNorm = { kind: 'rms_norm', epsilon };
    const { query, key, value } = projectQkv(m, x, { heads, qkNorm, context, names, projectionBias: false });
    const attended = attend({
      query: applyRotary(query, places[0], heads),
      key: applyRotary(key, places[1], heads),
      value,
      heads,
      mask,
    });
    return linear(m.at('o_proj'), attended, width, { bias: false });
  },
);
