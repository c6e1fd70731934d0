/**
 * Wan 2.1 and 2.2 (Alibaba, 2025, arXiv 2503.20314), Diffusers' `WanTransformer3DModel`: a video transformer that reads text by
 * cross-attention.
 *
 * Notation: D = heads · head dim is the width; video latents [B, C, frames, height, width] are cut into patches, each a token at
 * a position (frame, row, column). All blocks share six vectors made from the time and add a learned table each ("adaLN-single").
 * Image-to-video models attend to image tokens too, with keys and values of their own. The two experts of Wan 2.2 are two
 * checkpoints of this class; its small model gives every token a time of its own, so that given frames stay clean.
 */

import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attention } from '../../../nn/attention/attention.ts';
import {
  type AttentionInputs,
  attentionInputs,
  attentionOptions,
  attentionTensors,
} from '../../../nn/attention/attention-inputs.ts';
import { sinusoidalEmbedding, textProjection, timestepEmbedding } from '../../../nn/embeddings.ts';
import { feedForward, linear } from '../../../nn/linear.ts';
import { modulatedResidual, scaleShiftTable, sublayerModulations } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { layerNorm, modulatedLayerNorm } from '../../../nn/norms.ts';
import { patchConvolution, patchGrid, unpatchify } from '../../../nn/patches.ts';
import { gridPositions, rotaryTables } from '../../../nn/rotary.ts';
import { tokenTimes } from '../../../nn/token-times.ts';
import { defineTransformer, type TransformerDefinition } from '../../definition.ts';
import { conditionAttention, imageEmbedding, qkNorm, TEXT_TOKENS } from './condition.ts';
import { wanNames } from './wan-names.ts';

export interface WanConfig {
  inChannels: number;
  outChannels: number;
  blocks: number;
  heads: number;
  headDim: number;
  width: number;
  feedForwardWidth: number;
  patch: readonly [number, number, number];
  textWidth: number;
  timeFeatures: number;
  /** Width of the image encoder's states; undefined if the model takes none. */
  imageWidth: number | undefined;
  /** Learned positions of image tokens: models between a first and a last frame have them, and take both in one batch. */
  imagePositions: number | undefined;
  imageKeys: boolean;
  crossNorm: boolean;
  epsilon: number;
}

export type WanState = AttentionInputs & {
  hidden_states: SymbolicTensor;
  /** [image, text], the same for all blocks. */
  encoder_hidden_states: SymbolicTensor;
  /** [B, D], or a row per distinct time. */
  temb: SymbolicTensor;
  /** What all blocks share of their modulation, [B, 6, D]. */
  shared_modulation: SymbolicTensor;
  /** [B, tokens]: which row each token takes. */
  temb_rows?: SymbolicTensor;
  /** [1, 1, tokens, tokens], where tokens do not see all others. */
  attention_bias?: SymbolicTensor;
};

/** What SkyReels-V2 varies. */
export const wanDefinition: TransformerDefinition<WanConfig, WanState> = {
  className: 'WanTransformer3DModel',
  separateCfg: true,
  tokens: { hidden_states: 1 },
  float32Modules: ['condition_embedder.time_embedder.**', 'condition_embedder.time_proj.**'],
  originalNames: wanNames,

  parseConfig(config) {
    config.requires('qk_norm', 'rms_norm_across_heads');
    const optional = (name: string) => config.nullable(name, (field) => config.integer(field));
    const heads = config.count('num_attention_heads', 40);
    const headDim = config.count('attention_head_dim', 128);
    const inChannels = config.integer('in_channels', 16);
    return {
      inChannels,
      outChannels: config.outChannels(inChannels, 16),
      blocks: config.layers('num_layers', 40),
      heads,
      headDim,
      width: heads * headDim,
      feedForwardWidth: config.integer('ffn_dim', 13824),
      patch: config.counts('patch_size', [1, 2, 2]) as [number, number, number],
      textWidth: config.integer('text_dim', 4096),
      timeFeatures: config.count('freq_dim', 256),
      imageWidth: optional('image_dim'),
      imagePositions: optional('pos_embed_seq_len'),
      imageKeys: optional('added_kv_proj_dim') !== undefined,
      crossNorm: config.boolean('cross_attn_norm', true),
      epsilon: config.positive('eps', 1e-6),
    };
  },

  traits: ({ width, inChannels, outChannels, patch, textWidth, imageWidth }) => ({
    width,
    inChannels,
    outChannels,
    patch,
    textWidth,
    takesImages: imageWidth !== undefined,
  }),

  inputs: ({ inChannels, textWidth, imageWidth, imagePositions }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'frames', 'height', 'width'] },
    { name: 'timestep', kind: 'float', shape: ['batch'], orShape: ['batch', 'times'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    ...(imageWidth === undefined
      ? []
      : [
          {
            name: 'encoder_hidden_states_image',
            kind: 'float',
            shape: [imagePositions === undefined ? 'batch' : '2·batch', 'image_tokens', imageWidth],
            optional: true,
          } as const,
        ]),
  ],

  prepare({ timestep, ...tensors }, { headDim, patch }) {
    const grid = patchGrid('hidden_states', tensors.hidden_states!, patch);
    const perSpaceAxis = 2 * Math.floor(headDim / 6);
    const axesDim = [headDim - 2 * perSpaceAxis, perSpaceAxis, perSpaceAxis];
    const positions = gridPositions(grid);
    const rotary = rotaryTables(positions, { axesDim, theta: 10000 });
    const times = tokenTimes(timestep!, positions.length);
    return { tensors: { ...tensors, ...times, ...attentionTensors(rotary) }, statics: { grid } };
  },

  prologue(m, inputs, config) {
    const { patch, width, timeFeatures } = config;
    const { hidden_states, timestep, encoder_hidden_states, encoder_hidden_states_image, temb_rows } = inputs;
    const embed = m.at('condition_embedder');
    const temb = timestepEmbedding(
      embed.at('time_embedder'),
      sinusoidalEmbedding(timestep!, { dim: timeFeatures }),
      width,
    );
    const text = textProjection(embed.at('text_embedder'), encoder_hidden_states!, 'gelu-approximate', width);
    return {
      hidden_states: patchConvolution(m.at('patch_embedding'), hidden_states!, { patch, width }),
      encoder_hidden_states: encoder_hidden_states_image
        ? concat([imageEmbedding(embed.at('image_embedder'), encoder_hidden_states_image, config), text], 1)
        : text,
      temb,
      shared_modulation: linear(embed.at('time_proj'), temb.silu(), 6 * width).reshape([-1, 6, width]),
      ...(temb_rows ? { temb_rows } : {}),
      ...attentionInputs(inputs),
    };
  },

  smallestCalls: ({ patch: [frames, height, width], imageKeys, imagePositions = 2 }) => [
    {
      sizes: {
        frames,
        height,
        width,
        // Image tokens are told from text by the count of all.
        text_tokens: imageKeys ? TEXT_TOKENS : 1,
        '2·batch': 2,
        image_tokens: imagePositions / 2,
      },
    },
  ],

  blockLists: (config) => [
    {
      name: 'blocks',
      pattern: 2,
      count: config.blocks,
      block: (m, state) => wanBlock(m, state, config),
    },
  ],

  epilogue(m, { hidden_states, temb, temb_rows }, { patch, outChannels, epsilon }, { grid }) {
    const [shift, scale] = scaleShiftTable(m, temb, 2, temb_rows);
    const normed = modulatedLayerNorm(hidden_states, { shift, scale }, epsilon);
    const patches = linear(m.at('proj_out'), normed, outChannels * patch[0] * patch[1] * patch[2]);
    return unpatchify(patches, { grid: grid as number[], patch });
  },
};

export const wanTransformer = defineTransformer(wanDefinition);

/** Self-attention, attention to the text, feed-forward; the first and the last are modulated. */
export const wanBlock = layer((m, state: WanState, config: WanConfig): Partial<WanState> => {
  const { heads, epsilon, feedForwardWidth, crossNorm } = config;
  const vectors = scaleShiftTable(m, state.shared_modulation, 6, state.temb_rows);
  const [ofAttention, ofMlp] = sublayerModulations(vectors, 2);

  const attended = modulatedResidual(state.hidden_states, {
    modulation: ofAttention,
    epsilon,
    sublayer: (x) =>
      attention(m.at('attn1'), x, {
        heads,
        qkNorm: qkNorm(config),
        bias: state.attention_bias,
        ...attentionOptions(state),
      }),
  });
  const query = crossNorm ? layerNorm(m.at('norm2'), attended, epsilon) : attended;
  const informed = attended.add(conditionAttention(m.at('attn2'), query, state.encoder_hidden_states, config));
  const hidden_states = modulatedResidual(informed, {
    modulation: ofMlp,
    epsilon,
    sublayer: (x) => feedForward(m.at('ffn'), x, { activation: 'gelu-approximate', inner: feedForwardWidth }),
  });
  return { hidden_states };
});
