/**
 * LTX-Video (Lightricks, 2024, arXiv 2501.00103), Diffusers' `LTXVideoTransformer3DModel`: a small, fast video transformer on
 * strongly compressed latents, which reads text by cross-attention.
 *
 * Notation: D = heads · head dim is the width; latents arrive as tokens, one per latent pixel and frame. Norms are RMSNorms, and
 * queries and keys are normalised and turned (`video-rotary.ts`) over the whole width. All blocks share six vectors made from the
 * time, of a sample or of each token, and add a learned table each ("adaLN-single").
 */
import { rmsNormalization } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attend, attention, projectQkv, type QkNorm } from '../../../nn/attention/attention.ts';
import { keyBias, trimText } from '../../../nn/attention/attention-mask.ts';
import { sinusoidalEmbedding, textProjection, timestepEmbedding } from '../../../nn/embeddings.ts';
import { type Activation, feedForward, linear } from '../../../nn/linear.ts';
import {
  adaLayerNormSingle,
  type SublayerModulation,
  scaleShiftTable,
  sublayerModulations,
} from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { modulatedLayerNorm, rmsNorm } from '../../../nn/norms.ts';
import { applyRotary } from '../../../nn/rotary.ts';
import { tokenTimes } from '../../../nn/token-times.ts';
import { defineTransformer } from '../../definition.ts';
import { ltxNames } from './ltx-names.ts';
import { videoRotary } from './video-rotary.ts';

interface LTXConfig {
  inChannels: number;
  outChannels: number;
  blocks: number;
  heads: number;
  width: number;
  captionWidth: number;
  patch: readonly [number, number, number];
  activation: Activation;
  attentionBias: boolean;
  attentionOutBias: boolean;
  /** Whether the norms of the stream have weights. */
  affineNorms: boolean;
  epsilon: number;
}

type LTXState = {
  hidden_states: SymbolicTensor;
  /** Projected text, the same for all blocks. */
  encoder_hidden_states: SymbolicTensor;
  text_bias?: SymbolicTensor;
  /** [B, D], or a row per distinct time. */
  temb: SymbolicTensor;
  /** What all blocks share of their modulation, [B, 6, D]. */
  shared_modulation: SymbolicTensor;
  /** [B, tokens]: which row each token takes. */
  temb_rows?: SymbolicTensor;
  rotary_cos: SymbolicTensor;
  rotary_sin: SymbolicTensor;
};

const qkNorm: QkNorm = { kind: 'rms_norm_across_heads', epsilon: 1e-5 };

export const ltxTransformer = defineTransformer<LTXConfig, LTXState>({
  className: 'LTXVideoTransformer3DModel',
  separateCfg: false,
  tokens: { hidden_states: 1 },
  float32Modules: ['time_embed.**'],
  originalNames: ltxNames,

  parseConfig(config) {
    config.requires('qk_norm', 'rms_norm_across_heads');
    const heads = config.count('num_attention_heads', 32);
    const inChannels = config.integer('in_channels', 128);
    const patch = config.count('patch_size', 1);
    return {
      inChannels,
      outChannels: config.outChannels(inChannels, 128),
      blocks: config.layers('num_layers', 28),
      heads,
      width: heads * config.count('attention_head_dim', 64),
      captionWidth: config.integer('caption_channels', 4096),
      patch: [config.count('patch_size_t', 1), patch, patch],
      activation: config.choice('activation_fn', ['gelu-approximate', 'gelu', 'geglu', 'swiglu'], 'gelu-approximate'),
      attentionBias: config.boolean('attention_bias', true),
      attentionOutBias: config.boolean('attention_out_bias', true),
      affineNorms: config.boolean('norm_elementwise_affine', false),
      epsilon: config.positive('norm_eps', 1e-6),
    };
  },

  traits: ({ width, inChannels, outChannels, patch, captionWidth }) => ({
    width,
    inChannels,
    outChannels,
    patch,
    textWidth: captionWidth,
  }),

  inputs: ({ inChannels, captionWidth }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'tokens', inChannels] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', captionWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'], orShape: ['batch', 'times'] },
    { name: 'encoder_attention_mask', kind: 'float', shape: ['batch', 'text_tokens'] },
    { name: 'num_frames', kind: 'other', optional: true },
    { name: 'height', kind: 'other', optional: true },
    { name: 'width', kind: 'other', optional: true },
    { name: 'rope_interpolation_scale', kind: 'other', optional: true },
    { name: 'video_coords', kind: 'float', shape: ['batch', 3, 'tokens'], optional: true },
  ],

  prepare({ hidden_states, encoder_hidden_states, timestep, encoder_attention_mask, video_coords }, config, inputs) {
    const tokens = hidden_states!.dim(1);
    const { text, bias } = trimText(encoder_hidden_states!, encoder_attention_mask);
    const rotary = videoRotary(inputs, video_coords, { ...config, tokens });
    return {
      tensors: {
        hidden_states: hidden_states!,
        text,
        ...(bias ? { text_bias: bias } : {}),
        ...tokenTimes(timestep!, tokens),
        rotary_cos: rotary.cos,
        rotary_sin: rotary.sin,
      },
    };
  },

  prologue(m, { hidden_states, text, text_bias, timestep, temb_rows, rotary_cos, rotary_sin }, { width }) {
    const temb = timestepEmbedding(
      m.at('time_embed.emb.timestep_embedder'),
      sinusoidalEmbedding(timestep!, { dim: 256 }),
      width,
    );
    return {
      hidden_states: linear(m.at('proj_in'), hidden_states!, width),
      encoder_hidden_states: textProjection(m.at('caption_projection'), text!, 'gelu-approximate', width),
      ...(text_bias ? { text_bias } : {}),
      temb,
      shared_modulation: adaLayerNormSingle(m.at('time_embed'), temb, 6),
      ...(temb_rows ? { temb_rows } : {}),
      rotary_cos: rotary_cos!,
      rotary_sin: rotary_sin!,
    };
  },

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 2,
      count: config.blocks,
      block: (m, state) => ltxBlock(m, state, config),
    },
  ],

  epilogue(m, { hidden_states, temb, temb_rows }, { outChannels }) {
    const [shift, scale] = scaleShiftTable(m, temb, 2, temb_rows);
    return linear(m.at('proj_out'), modulatedLayerNorm(hidden_states, { shift, scale }), outChannels);
  },
});

/** Self-attention, attention to the text, feed-forward; the first and the last are modulated. */
const ltxBlock = layer((m, state: LTXState, config: LTXConfig): Partial<LTXState> => {
  const { heads, width, activation, affineNorms, epsilon } = config;
  const { hidden_states, encoder_hidden_states, text_bias } = state;
  const vectors = scaleShiftTable(m, state.shared_modulation, 6, state.temb_rows);
  const [ofAttention, ofMlp] = sublayerModulations(vectors, 2);
  const norm = (name: string, x: SymbolicTensor) =>
    affineNorms ? rmsNorm(m.at(name), x, epsilon) : rmsNormalization(x, { epsilon });
  const normed = (name: string, x: SymbolicTensor, { shift, scale }: SublayerModulation) =>
    norm(name, x).mul(scale.add(1)).add(shift);

  const attended = videoAttention(m.at('attn1'), normed('norm1', hidden_states, ofAttention), state, config);
  const afterAttention = hidden_states.add(ofAttention.gate.mul(attended));
  const informed = afterAttention.add(
    attention(m.at('attn2'), afterAttention, {
      heads,
      qkNorm,
      context: encoder_hidden_states,
      projectionBias: config.attentionBias,
      outputBias: config.attentionOutBias,
      bias: text_bias && keyBias(text_bias, hidden_states.dim(1)),
    }),
  );
  const mlp = feedForward(m.at('ff'), normed('norm2', informed, ofMlp), { activation, inner: 4 * width });
  return { hidden_states: informed.add(ofMlp.gate.mul(mlp)) };
});

/** Self-attention whose queries and keys are turned before they are split into heads. */
const videoAttention = layer((m, x: SymbolicTensor, state: LTXState, config: LTXConfig): SymbolicTensor => {
  const { heads, attentionBias, attentionOutBias } = config;
  const { query, key, value } = projectQkv(m, x, { heads, qkNorm, projectionBias: attentionBias });
  const turn = (y: SymbolicTensor) => applyRotary(y, { cos: state.rotary_cos, sin: state.rotary_sin }, 1);
  const attended = attend({ query: turn(query), key: turn(key), value, heads });
  return linear(m.at('to_out.0'), attended, x.dim(-1), { bias: attentionOutBias });
});
