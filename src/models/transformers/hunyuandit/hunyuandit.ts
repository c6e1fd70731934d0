/**
 * HunyuanDiT (Tencent, 2024, arXiv 2405.08748), Diffusers' `HunyuanDiT2DModel`: a U of transformer blocks that read text by
 * cross-attention; each block of the second half also sees what its counterpart of the first half returned.
 *
 * Notation: D = heads · head dim is the width; the text is [CLIP, T5], with a learned vector in place of each padding token. The
 * time, T5's text pooled by attention and, up to version 1.1, picture sizes and a style are summed to `temb`, which only shifts the
 * norm before self-attention. Rotary positions of the image come from the caller; in cross-attention they turn the queries alone.
 */

import { DejaDitError } from '../../../errors/errors.ts';
import { concat, where } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attend, attention, projectQkv, type QkNorm } from '../../../nn/attention/attention.ts';
import { type AttentionInputs, attentionInputs, attentionTensors } from '../../../nn/attention/attention-inputs.ts';
import { embedding, sinusoidalEmbedding, textProjection, timestepEmbedding } from '../../../nn/embeddings.ts';
import { type Activation, feedForward, linear } from '../../../nn/linear.ts';
import { layer } from '../../../nn/module.ts';
import { adaLayerNormContinuous, layerNorm } from '../../../nn/norms.ts';
import { patchEmbedding, patchGrid, unpatchify } from '../../../nn/patches.ts';
import { applyRotary, type Rotary } from '../../../nn/rotary.ts';
import { intTensor } from '../../../tensor/tensor.ts';
import { defineTransformer, SKIP, type State } from '../../definition.ts';
import { rotaryInput } from '../../rotary-input.ts';

interface HunyuanDiTConfig {
  inChannels: number;
  outChannels: number;
  patchSize: number;
  blocks: number;
  heads: number;
  headDim: number;
  width: number;
  mlpWidth: number;
  activation: Activation;
  textWidth: number;
  t5Width: number;
  pooledWidth: number;
  textTokens: number;
  t5Tokens: number;
  /** Whether picture sizes and a style are conditions. */
  sizesAndStyle: boolean;
}

type HunyuanDiTState = Partial<AttentionInputs> & {
  hidden_states: SymbolicTensor;
  /** Projected text, the same for all blocks. */
  encoder_hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
} & { [skip: `skip_${number}`]: SymbolicTensor };

const epsilon = 1e-6;
const qkNorm: QkNorm = { kind: 'layer_norm', epsilon };
/** Of the attention that pools T5's text. */
const POOL_HEADS = 8;

export const hunyuanDiTTransformer = defineTransformer<HunyuanDiTConfig, HunyuanDiTState>({
  className: 'HunyuanDiT2DModel',
  separateCfg: false,
  tokens: { hidden_states: 1 },
  float32Modules: ['time_extra_emb.**'],

  parseConfig(config) {
    config.requires('norm_type', 'layer_norm');
    const heads = config.count('num_attention_heads', 16);
    const headDim = config.count('attention_head_dim', 88);
    const width = heads * headDim;
    config.requires('hidden_size', width);
    const inChannels = config.integer('in_channels', 4);
    return {
      inChannels,
      outChannels: config.boolean('learn_sigma', true) ? 2 * inChannels : inChannels,
      patchSize: config.count('patch_size', 2),
      blocks: config.layers('num_layers', 28),
      heads,
      headDim,
      width,
      mlpWidth: Math.floor(width * config.positive('mlp_ratio', 4)),
      activation: config.choice('activation_fn', ['gelu-approximate', 'gelu', 'geglu', 'swiglu'], 'gelu-approximate'),
      textWidth: config.integer('cross_attention_dim', 1024),
      t5Width: config.integer('cross_attention_dim_t5', 2048),
      pooledWidth: config.integer('pooled_projection_dim', 1024),
      textTokens: config.count('text_len', 77),
      t5Tokens: config.count('text_len_t5', 256),
      sizesAndStyle: config.boolean('use_style_cond_and_image_meta_size', true),
    };
  },

  inputs: ({ inChannels, textWidth, t5Width, textTokens, t5Tokens, sizesAndStyle }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'height', 'width'] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', textTokens, textWidth] },
    { name: 'text_embedding_mask', kind: 'bool', shape: ['batch', textTokens] },
    { name: 'encoder_hidden_states_t5', kind: 'float', shape: ['batch', t5Tokens, t5Width] },
    { name: 'text_embedding_mask_t5', kind: 'bool', shape: ['batch', t5Tokens] },
    { name: 'image_rotary_emb', kind: 'other', optional: true },
    ...(sizesAndStyle
      ? ([
          { name: 'image_meta_size', kind: 'float', shape: ['batch', 6] },
          { name: 'style', kind: 'int', shape: ['batch'] },
        ] as const)
      : []),
  ],

  prepare(tensors, { patchSize, headDim }, { image_rotary_emb, style }) {
    const grid = patchGrid('hidden_states', tensors.hidden_states!, [patchSize, patchSize]);
    if (style && tensors.style?.data.some((value) => BigInt(value) !== 0n)) {
      throw new DejaDitError('INVALID_ARGUMENT', 'the model knows one style only, 0', { path: 'style' });
    }
    const rotary =
      image_rotary_emb &&
      rotaryInput(image_rotary_emb, { name: 'image_rotary_emb', tokens: grid[0] * grid[1], width: headDim });
    return { tensors: { ...tensors, ...(rotary ? attentionTensors(rotary) : {}) }, statics: { grid } };
  },

  prologue(m, inputs, config) {
    const { width, patchSize, textWidth, t5Width, textTokens, t5Tokens } = config;
    const t5 = inputs.encoder_hidden_states_t5!;
    const text = concat(
      [inputs.encoder_hidden_states!, textProjection(m.at('text_embedder'), t5, 'silu', 4 * t5Width, textWidth)],
      1,
    );
    // As numbers: GPUs neither join nor reshape booleans.
    const masks = [inputs.text_embedding_mask!, inputs.text_embedding_mask_t5!].map((mask) => mask.cast('float32'));
    const kept = concat(masks, 1).unsqueeze(-1).greater(0.5);
    const padding = m.weight('text_embedding_padding', [textTokens + t5Tokens, textWidth]);
    return {
      hidden_states: patchEmbedding(m.at('pos_embed'), inputs.hidden_states!, { patch: [patchSize, patchSize], width }),
      encoder_hidden_states: where(kept, text, padding),
      temb: conditions(m.at('time_extra_emb'), inputs, config),
      ...(inputs.rotary_cos ? attentionInputs(inputs) : {}),
    };
  },

  smallestCalls: ({ patchSize, sizesAndStyle }) => [
    {
      sizes: { height: patchSize, width: patchSize },
      ...(sizesAndStyle ? { inputs: { style: intTensor([0]) } } : {}),
    },
  ],

  blockLists: (config) => [
    {
      name: 'blocks',
      pattern: 3,
      count: config.blocks,
      longSkips: true,
      block: (m, state, { index }) => hunyuanDiTBlock(m, state, index, config),
    },
  ],

  epilogue(m, { hidden_states, temb }, { patchSize, outChannels }, { grid }) {
    const normed = adaLayerNormContinuous(m.at('norm_out'), hidden_states, temb, { epsilon });
    const patches = linear(m.at('proj_out'), normed, patchSize ** 2 * outChannels);
    return unpatchify(patches, { grid: grid as number[], patch: [patchSize, patchSize] });
  },
});

/** Time plus all other conditions, [B, D]. */
const conditions = layer(
  (m, inputs: State, { width, pooledWidth, sizesAndStyle }: HunyuanDiTConfig): SymbolicTensor => {
    const time = timestepEmbedding(
      m.at('timestep_embedder'),
      sinusoidalEmbedding(inputs.timestep!, { dim: 256 }),
      width,
    );
    const others = [pooledText(m.at('pooler'), inputs.encoder_hidden_states_t5!, pooledWidth)];
    if (sizesAndStyle) {
      const sizes = sinusoidalEmbedding(inputs.image_meta_size!.reshape([-1]), { dim: 256 });
      others.push(
        sizes.reshape([time.dim(0), -1]),
        embedding(m.at('style_embedder'), inputs.style!, { count: 1, width }),
      );
    }
    return time.add(textProjection(m.at('extra_embedder'), concat(others, 1), 'silu', 4 * width, width));
  },
);

/** CLIP's attention pool of text [B, T, C]: the mean attends to itself and all tokens. */
const pooledText = layer((m, text: SymbolicTensor, out: number): SymbolicTensor => {
  const width = text.dim(-1);
  const positions = m.weight('positional_embedding', [text.dim(1) + 1, width]);
  const tokens = concat([text.mean(1), text], 1).add(positions);
  const pooled = attend({
    query: linear(m.at('q_proj'), tokens.slice(1, 0, 1), width),
    key: linear(m.at('k_proj'), tokens, width),
    value: linear(m.at('v_proj'), tokens, width),
    heads: POOL_HEADS,
  });
  return linear(m.at('c_proj'), pooled.squeeze(1), out);
});

const hunyuanDiTBlock = layer(
  (m, state: HunyuanDiTState, index: number, config: HunyuanDiTConfig): Partial<HunyuanDiTState> => {
    const { heads, width, mlpWidth, activation, blocks } = config;
    const { rotary_cos: cos, rotary_sin: sin } = state;
    const rotary = cos && sin && { cos, sin };
    let x = state.hidden_states;
    if (index > Math.floor(blocks / 2)) {
      const both = layerNorm(m.at('skip_norm'), concat([x, state[`${SKIP}${blocks - 1 - index}`]!], -1), epsilon);
      x = linear(m.at('skip_linear'), both, width);
    }
    const shift = linear(m.at('norm1.linear'), state.temb.silu(), width).unsqueeze(1);
    const normed = layerNorm(m.at('norm1.norm'), x, epsilon).add(shift);
    x = x.add(attention(m.at('attn1'), normed, { heads, qkNorm, rotary }));
    x = x.add(textAttention(m.at('attn2'), layerNorm(m.at('norm2'), x, epsilon), { state, heads, rotary }));
    x = x.add(feedForward(m.at('ff'), layerNorm(m.at('norm3'), x, epsilon), { activation, inner: mlpWidth }));
    return { hidden_states: x, ...(index < Math.floor(blocks / 2) - 1 ? { [`${SKIP}${index}`]: x } : {}) };
  },
);

interface TextAttention {
  state: HunyuanDiTState;
  heads: number;
  rotary: Rotary | undefined;
}

const textAttention = layer((m, x: SymbolicTensor, { state, heads, rotary }: TextAttention): SymbolicTensor => {
  const { query, ...text } = projectQkv(m, x, { heads, qkNorm, context: state.encoder_hidden_states });
  const attended = attend({ query: rotary ? applyRotary(query, rotary, heads) : query, ...text, heads });
  return linear(m.at('to_out.0'), attended, x.dim(-1));
});
