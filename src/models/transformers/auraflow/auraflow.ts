/**
 * AuraFlow (fal, 2024), Diffusers' `AuraFlowTransformer2DModel`: an MM-DiT of a few two-stream blocks and many blocks over the joined
 * sequence.
 *
 * Notation: D = heads · head dim is the width; tokens are [registers, text, image], where registers are learned tokens that give
 * attention a place to put what belongs nowhere (arXiv 2309.16588). No layer has a bias save the embeddings of patches and time, and
 * no norm a weight. Both sublayers of a block add to what enters it: the feed-forward sees the attention's sum, the stream does not.
 */
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attention, jointAttention, type QkNorm } from '../../../nn/attention/attention.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { gatedFeedForward, gatedWidth, linear } from '../../../nn/linear.ts';
import { sublayerModulations } from '../../../nn/modulation.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { modulatedLayerNorm, modulation } from '../../../nn/norms.ts';
import { patchGrid, patchify, unpatchify } from '../../../nn/patches.ts';
import { tableWindow } from '../../../nn/position-table.ts';
import { defineTransformer } from '../../definition.ts';
import { auraFlowNames } from './auraflow-names.ts';

interface AuraFlowConfig {
  inChannels: number;
  outChannels: number;
  patchSize: number;
  jointBlocks: number;
  singleBlocks: number;
  heads: number;
  width: number;
  textWidth: number;
  sampleSize: number;
  /** Rows of the position table, a square. */
  positions: number;
}

type AuraFlowState = {
  /** The image; from the single blocks on, all tokens. */
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
};

const REGISTERS = 8;
const epsilon = 1e-5;
const noBias = { bias: false };
const attentionSettings = {
  qkNorm: { kind: 'fp32_layer_norm', epsilon } satisfies QkNorm,
  projectionBias: false,
  outputBias: false,
};

export const auraFlowTransformer = defineTransformer<AuraFlowConfig, AuraFlowState>({
  className: 'AuraFlowTransformer2DModel',
  separateCfg: false,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['time_step_proj.**'],
  originalNames: auraFlowNames,
  cacheGroups: [['single_transformer_blocks']],

  parseConfig(config) {
    const heads = config.count('num_attention_heads', 12);
    const inChannels = config.integer('in_channels', 4);
    const width = heads * config.count('attention_head_dim', 256);
    config.requires('caption_projection_dim', width);
    return {
      inChannels,
      outChannels: config.outChannels(inChannels, 4),
      patchSize: config.count('patch_size', 2),
      jointBlocks: config.layers('num_mmdit_layers', 4),
      singleBlocks: config.layers('num_single_dit_layers', 32),
      heads,
      width,
      textWidth: config.integer('joint_attention_dim', 2048),
      sampleSize: config.integer('sample_size', 64),
      positions: config.integer('pos_embed_max_size', 1024),
    };
  },

  traits: ({ width, inChannels, outChannels, patchSize, textWidth, sampleSize }) => ({
    width,
    inChannels,
    outChannels,
    patch: [1, patchSize, patchSize],
    sampleSize,
    textWidth,
  }),

  inputs: ({ inChannels, textWidth }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'height', 'width'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
  ],

  prepare(tensors, { patchSize }) {
    return { tensors, statics: { grid: patchGrid('hidden_states', tensors.hidden_states!, [patchSize, patchSize]) } };
  },

  prologue(m, { hidden_states, encoder_hidden_states, timestep }, config, { grid }) {
    const { width, patchSize, positions } = config;
    const [rows, columns] = grid as [number, number];
    const edge = Math.floor(Math.sqrt(positions));
    const start = (size: number) => Math.floor(edge / 2) - Math.floor(size / 2);
    const table = m.weight('pos_embed.pos_embed', [1, positions, width]);
    const tokens = patchify(hidden_states!, [patchSize, patchSize], 'first');
    const batch = encoder_hidden_states!.dim(0);
    const registers = m.weight('register_tokens', [1, REGISTERS, width]).expand([batch, REGISTERS, width]);
    return {
      hidden_states: linear(m.at('pos_embed.proj'), tokens, width).add(
        tableWindow(table.slice(1, 0, edge * edge), {
          edge,
          grid: [rows, columns],
          corner: [start(rows), start(columns)],
        }),
      ),
      encoder_hidden_states: concat(
        [registers, linear(m.at('context_embedder'), encoder_hidden_states!, width, noBias)],
        1,
      ),
      temb: timestepEmbedding(m.at('time_step_proj'), sinusoidalEmbedding(timestep!, { dim: 256, scale: 1000 }), width),
    };
  },

  smallestCalls: ({ patchSize }) => [{ sizes: { height: patchSize, width: patchSize } }],

  blockLists: (config) => [
    {
      name: 'joint_transformer_blocks',
      pattern: 1,
      count: config.jointBlocks,
      block: (m, state) => jointBlock(m, state, config),
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

  epilogue(m, { hidden_states, encoder_hidden_states, temb }, { patchSize, width, outChannels }, { grid }) {
    const [scale, shift] = modulation(m.at('norm_out'), temb, 2, { width, ...noBias });
    const image = hidden_states.slice(1, encoder_hidden_states.dim(1));
    const patches = linear(m.at('proj_out'), image.mul(scale.add(1)).add(shift), patchSize ** 2 * outChannels, noBias);
    return unpatchify(patches, { grid: grid as number[], patch: [patchSize, patchSize] });
  },
});

/** Text and image keep their own weights and meet in attention. */
const jointBlock = layer((m, state: AuraFlowState, { heads, width }: AuraFlowConfig): Partial<AuraFlowState> => {
  const image = auraFlowStream(m, state.hidden_states, { temb: state.temb, width, norm: 'norm1', feedForward: 'ff' });
  const text = auraFlowStream(m, state.encoder_hidden_states, {
    temb: state.temb,
    width,
    norm: 'norm1_context',
    feedForward: 'ff_context',
  });
  const attended = jointAttention(m.at('attn'), {
    image: image.normed,
    text: text.normed,
    heads,
    first: 'text',
    ...attentionSettings,
  });
  return { hidden_states: image.finish(attended.image), encoder_hidden_states: text.finish(attended.text!) };
});

const singleBlock = layer((m, state: AuraFlowState, { heads, width }: AuraFlowConfig): Partial<AuraFlowState> => {
  const { normed, finish } = auraFlowStream(m, state.hidden_states, {
    temb: state.temb,
    width,
    norm: 'norm1',
    feedForward: 'ff',
  });
  return { hidden_states: finish(attention(m.at('attn'), normed, { heads, ...attentionSettings })) };
});

interface StreamOptions {
  temb: SymbolicTensor;
  width: number;
  norm: string;
  feedForward: string;
}

/** One stream x [B, S, D] of a block: what attention is given, and what becomes of its result. */
function auraFlowStream(m: Module, x: SymbolicTensor, { temb, width, norm, feedForward }: StreamOptions) {
  const [ofAttention, ofMlp] = sublayerModulations(modulation(m.at(norm), temb, 6, { width, ...noBias }), 2);
  return {
    normed: modulatedLayerNorm(x, ofAttention, epsilon),
    finish(attended: SymbolicTensor): SymbolicTensor {
      const informed = modulatedLayerNorm(x.add(ofAttention.gate.mul(attended)), ofMlp, epsilon);
      const mlp = gatedFeedForward(m.at(feedForward), informed, {
        inner: gatedWidth(4 * width, 256),
        names: { gate: 'linear_1', value: 'linear_2', out: 'out_projection' },
        ...noBias,
      });
      return x.add(ofMlp.gate.mul(mlp));
    },
  };
}
