/**
 * Allegro (Rhymes AI, 2024, arXiv 2410.15458), Diffusers' `AllegroTransformer3DModel`: PixArt's architecture with full attention over a
 * video's frames.
 *
 * Notation: D = heads · head dim is the width. Each third of a head is turned by one position: frame, row or column; the caller gives
 * tables per axis, and which of their rows each token takes. All blocks share six vectors made from the time and add a learned table
 * each ("adaLN-single").
 */

import { DejaDitError } from '../../../errors/errors.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attend, attention, projectQkv } from '../../../nn/attention/attention.ts';
import { type AttentionInputs, attentionTensors } from '../../../nn/attention/attention-inputs.ts';
import { keyBias, keyMask, trimText } from '../../../nn/attention/attention-mask.ts';
import { sinusoidalEmbedding, textProjection, timestepEmbedding } from '../../../nn/embeddings.ts';
import { type Activation, feedForward, linear } from '../../../nn/linear.ts';
import { adaLayerNormSingle, modulatedResidual, scaleShiftTable, sublayerModulations } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { modulatedLayerNorm } from '../../../nn/norms.ts';
import { framePatches, patchGrid, unpatchify } from '../../../nn/patches.ts';
import { applyRotary, gridPositions } from '../../../nn/rotary.ts';
import { dims, type Tensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import { axisRotary } from './axis-rotary.ts';

interface AllegroConfig {
  inChannels: number;
  outChannels: number;
  patchSize: number;
  blocks: number;
  heads: number;
  headDim: number;
  width: number;
  captionWidth: number;
  activation: Activation;
  attentionBias: boolean;
  epsilon: number;
}

type AllegroState = Partial<AttentionInputs> & {
  hidden_states: SymbolicTensor;
  /** Projected text, the same for all blocks. */
  encoder_hidden_states: SymbolicTensor;
  text_bias?: SymbolicTensor;
  temb: SymbolicTensor;
  /** What all blocks share of their modulation, [B, 6, D]. */
  shared_modulation: SymbolicTensor;
};

export const allegroTransformer = defineTransformer<AllegroConfig, AllegroState>({
  className: 'AllegroTransformer3DModel',
  separateCfg: false,
  tokens: { hidden_states: 1 },
  float32Modules: ['adaln_single.**'],

  parseConfig(config) {
    config.requires('norm_elementwise_affine', false);
    // The output projection has no room for more.
    config.requires('patch_size_t', 1);
    const heads = config.count('num_attention_heads', 24);
    const headDim = config.count('attention_head_dim', 96);
    config.requires('cross_attention_dim', heads * headDim);
    return {
      inChannels: config.integer('in_channels', 4),
      outChannels: config.integer('out_channels', 4),
      patchSize: config.count('patch_size', 2),
      blocks: config.layers('num_layers', 32),
      heads,
      headDim,
      width: heads * headDim,
      captionWidth: config.integer('caption_channels', 4096),
      activation: config.choice('activation_fn', ['gelu-approximate', 'gelu', 'geglu', 'swiglu'], 'gelu-approximate'),
      attentionBias: config.boolean('attention_bias', true),
      epsilon: config.positive('norm_eps', 1e-6),
    };
  },

  inputs: ({ inChannels, captionWidth }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'frames', 'height', 'width'] },
    {
      name: 'encoder_hidden_states',
      kind: 'float',
      shape: ['batch', 'text_tokens', captionWidth],
      orShape: ['batch', 1, 'text_tokens', captionWidth],
    },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'attention_mask', kind: 'bool', shape: ['batch', 'mask_frames', 'height', 'width'], optional: true },
    { name: 'encoder_attention_mask', kind: 'float', shape: ['batch', 'text_tokens'], optional: true },
    { name: 'image_rotary_emb', kind: 'other', optional: true },
  ],

  prepare({ attention_mask, encoder_attention_mask, encoder_hidden_states, ...tensors }, config, { image_rotary_emb }) {
    const { patchSize, headDim, captionWidth } = config;
    const grid = patchGrid('hidden_states', tensors.hidden_states!, [1, patchSize, patchSize]);
    const tokens = grid[0] * grid[1] * grid[2];
    const states = encoder_hidden_states!;
    const { text, bias } = trimText(
      states.reshape([states.dim(0), states.dim(-2), captionWidth]),
      encoder_attention_mask,
    );
    const mask = attention_mask && keyMask(pooledMask(attention_mask, grid, patchSize));
    const rotary = image_rotary_emb && axisRotary(image_rotary_emb, { tokens, axisWidth: headDim / 3 });
    return {
      tensors: {
        ...tensors,
        text,
        ...(bias ? { text_bias: bias } : {}),
        ...(mask?.keys ? { mask_keys: mask.keys } : {}),
        ...(mask?.bias ? { mask_bias: mask.bias } : {}),
        ...(rotary ? attentionTensors(rotary) : {}),
      },
      statics: { grid },
    };
  },

  prologue(m, inputs, { width, patchSize }) {
    const conditioning = m.at('adaln_single');
    const time = sinusoidalEmbedding(inputs.timestep!, { dim: 256 });
    const temb = timestepEmbedding(conditioning.at('emb.timestep_embedder'), time, width);
    const frames = inputs.hidden_states!.transpose([0, 2, 1, 3, 4]);
    return {
      hidden_states: framePatches(m.at('pos_embed.proj'), frames, { patch: [patchSize, patchSize], width }),
      encoder_hidden_states: textProjection(m.at('caption_projection'), inputs.text!, 'gelu-approximate', width),
      ...(inputs.text_bias ? { text_bias: inputs.text_bias } : {}),
      temb,
      shared_modulation: adaLayerNormSingle(conditioning, temb, 6),
      ...(inputs.mask_keys ? { mask_keys: inputs.mask_keys } : {}),
      ...(inputs.mask_bias ? { mask_bias: inputs.mask_bias } : {}),
      ...(inputs.rotary_cos ? { rotary_cos: inputs.rotary_cos, rotary_sin: inputs.rotary_sin! } : {}),
    };
  },

  smallestCalls: ({ patchSize }) => [{ sizes: { height: patchSize, width: patchSize } }],

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 2,
      count: config.blocks,
      block: (m, state) => allegroBlock(m, state, config),
    },
  ],

  epilogue(m, { hidden_states, temb }, { patchSize, outChannels }, { grid }) {
    const [shift, scale] = scaleShiftTable(m, temb, 2);
    const patches = linear(
      m.at('proj_out'),
      modulatedLayerNorm(hidden_states, { shift, scale }),
      patchSize ** 2 * outChannels,
    );
    return unpatchify(patches, { grid: grid as number[], patch: [1, patchSize, patchSize] });
  },
});

/** Self-attention, attention to the text, feed-forward; the first and the last are modulated. */
const allegroBlock = layer((m, state: AllegroState, config: AllegroConfig): Partial<AllegroState> => {
  const { heads, width, activation, epsilon, attentionBias: projectionBias } = config;
  const { encoder_hidden_states: context, text_bias } = state;
  const [ofAttention, ofMlp] = sublayerModulations(scaleShiftTable(m, state.shared_modulation, 6), 2);
  const attended = modulatedResidual(state.hidden_states, {
    modulation: ofAttention,
    epsilon,
    sublayer: (x) => videoAttention(m.at('attn1'), x, state, config),
  });
  const bias = text_bias && keyBias(text_bias, attended.dim(1));
  const informed = attended.add(attention(m.at('attn2'), attended, { heads, context, projectionBias, bias }));
  const hidden_states = modulatedResidual(informed, {
    modulation: ofMlp,
    epsilon,
    sublayer: (x) => feedForward(m.at('ff'), x, { activation, inner: 4 * width }),
  });
  return { hidden_states };
});

/**
 * Self-attention. Within each third of a head, feature i turns with i + d/6. The first halves of the thirds are moved before the second
 * ones, of queries and keys alike, so that a single rotation of halves turns them all.
 */
const videoAttention = layer((m, x: SymbolicTensor, state: AllegroState, config: AllegroConfig): SymbolicTensor => {
  const { heads, headDim, attentionBias: projectionBias } = config;
  const { rotary_cos: cos, rotary_sin: sin, mask_keys: keys, mask_bias: bias } = state;
  const { query, key, value } = projectQkv(m, x, { heads, projectionBias });
  const turned = (y: SymbolicTensor) => {
    if (!cos || !sin) return y;
    const [batch, tokens] = dims(y, 3);
    const halves = y.reshape([batch, tokens, heads, 3, 2, headDim / 6]).transpose([0, 1, 2, 4, 3, 5]);
    return applyRotary(halves.reshape(y.shape), { cos, sin, interleaved: false }, heads);
  };
  const attended = attend({ query: turned(query), key: turned(key), value, heads, mask: { keys, bias } });
  return linear(m.at('to_out.0'), attended, x.dim(-1));
});

/** Which tokens a mask [B, frames, H, W] of latents keeps: those with a kept latent in their patch. */
function pooledMask(
  mask: Tensor,
  [frames, rows, columns]: readonly [number, number, number],
  patch: number,
): boolean[][] {
  const [batch, maskFrames, height, width] = mask.shape as [number, number, number, number];
  const isKept = (sample: number, frame: number, row: number, column: number) =>
    Array.from({ length: patch * patch }, (_, i) => {
      const [y, x] = [row * patch + Math.floor(i / patch), column * patch + (i % patch)];
      return mask.data[((sample * maskFrames + frame) * height + y) * width + x] !== 0;
    }).includes(true);
  if (maskFrames < frames) {
    throw new DejaDitError('SHAPE_MISMATCH', `shape [${mask.shape}], expected ${frames} frames`, {
      path: 'attention_mask',
    });
  }
  return Array.from({ length: batch }, (_, sample) =>
    gridPositions([frames, rows, columns]).map(([frame, row, column]) => isKept(sample, frame!, row!, column!)),
  );
}
