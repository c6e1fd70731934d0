/**
 * Stable Diffusion 3 and 3.5 (Esser et al., arXiv 2403.03206), Diffusers' `SD3Transformer2DModel`: the multimodal DiT (MM-DiT).
 *
 * Notation: D = heads · head dim is the width; joint sequences are [image, text]. The streams have separate weights and meet in attention;
 * `temb`, the sum of time and pooled-text embeddings, modulates both. In SD 3.5 medium's first blocks the image also attends to
 * itself alone (`attn2`, "dual attention"). The last block leaves the text unchanged, since only the image is read after it.
 * Positions are a table in the checkpoint, from whose centre the image's size is cropped.
 */
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import type { QkNorm } from '../../../nn/attention/attention.ts';
import { conditionEmbedding } from '../../../nn/embeddings.ts';
import { linear } from '../../../nn/linear.ts';
import { modulatedOutput } from '../../../nn/modulation.ts';
import type { Module } from '../../../nn/module.ts';
import { patchEmbedding, unpatchify } from '../../../nn/patches.ts';
import {
  controlled,
  controlSpecs,
  controlState,
  controlTensors,
  type SampleChoice,
} from '../../controlnets/control-samples.ts';
import { type BlockContext, defineTransformer } from '../../definition.ts';
import { croppedPositions, type SD3State, sd3Block, tokenGrid } from './sd3-blocks.ts';
import { sd3Names } from './sd3-names.ts';

interface SD3Config {
  inChannels: number;
  outChannels: number;
  blocks: number;
  /** Indices of the blocks in which the image attends to itself as well. */
  dualAttention: readonly number[];
  heads: number;
  width: number;
  textWidth: number;
  pooledWidth: number;
  qkNorm: QkNorm | undefined;
  patch: readonly [number, number];
  /** Edge of the latents that it was trained at. */
  sampleSize: number;
  /** Tokens per side of the position table. */
  tableSize: number;
}

/** With what a ControlNet adds. */
type ControlledState = SD3State & { block_controlnet_hidden_states?: SymbolicTensor };

const controls = ['block_controlnet_hidden_states'] as const;

export const sd3Transformer = defineTransformer<SD3Config, ControlledState>({
  className: 'SD3Transformer2DModel',
  separateCfg: false,
  tokens: { hidden_states: 1, encoder_hidden_states: 1, block_controlnet_hidden_states: 2 },
  float32Modules: ['time_text_embed.**'],
  originalNames: sd3Names,

  parseConfig(config) {
    const heads = config.count('num_attention_heads', 18);
    const width = heads * config.count('attention_head_dim', 64);
    // The text stream has the image's width: they share one attention.
    config.requires('caption_projection_dim', width);
    const inChannels = config.integer('in_channels', 16);
    const patch = config.count('patch_size', 2);
    const norm = config.nullable('qk_norm', (name) => config.choice(name, ['rms_norm'] as const));
    return {
      inChannels,
      outChannels: config.outChannels(inChannels, 16),
      blocks: config.layers('num_layers', 18),
      dualAttention: config.integers('dual_attention_layers', [], { min: 0 }),
      heads,
      width,
      textWidth: config.integer('joint_attention_dim', 4096),
      pooledWidth: config.integer('pooled_projection_dim', 2048),
      qkNorm: norm && { kind: norm, epsilon: 1e-6 },
      patch: [patch, patch],
      sampleSize: config.integer('sample_size', 128),
      tableSize: config.integer('pos_embed_max_size', 96),
    };
  },

  traits: ({ width, inChannels, outChannels, patch, sampleSize, textWidth }) => ({
    width,
    inChannels,
    outChannels,
    patch: [1, ...patch],
    sampleSize,
    textWidth,
  }),

  inputs: ({ inChannels, textWidth, pooledWidth }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'height', 'width'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'pooled_projections', kind: 'float', shape: ['batch', pooledWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    ...controlSpecs(controls),
  ],

  prepare(tensors, { patch, tableSize, width }, inputs) {
    const latents = tensors.hidden_states!;
    const grid = tokenGrid(latents, { patch, tableSize });
    const control = controlTensors(controls, inputs, [latents.dim(0), grid[0] * grid[1], width]);
    return { tensors: { ...tensors, ...control }, statics: { grid } };
  },

  prologue(m, inputs, config, { grid }) {
    const { hidden_states, encoder_hidden_states, pooled_projections, timestep } = inputs;
    const { patch, width } = config;
    const positions = croppedPositions(m.at('pos_embed'), grid as [number, number], config);
    return {
      hidden_states: patchEmbedding(m.at('pos_embed'), hidden_states!, { patch, width }).add(positions),
      encoder_hidden_states: linear(m.at('context_embedder'), encoder_hidden_states!, width),
      temb: conditionEmbedding(
        m.at('time_text_embed'),
        { timestep: timestep!, pooled: pooled_projections! },
        { width },
      ),
      ...controlState(controls, inputs),
    };
  },

  smallestCalls: ({ patch: [height, width] }) => [{ sizes: { height, width } }],

  blockLists: (config) => {
    const list = {
      name: 'transformer_blocks',
      pattern: 1 as const,
      count: config.blocks,
      block: (m: Module, state: ControlledState, { index }: BlockContext) =>
        sd3Block(m, state, {
          ...config,
          dual: config.dualAttention.includes(index),
          last: index === config.blocks - 1,
        }),
    };
    return [controlled(list, { name: controls[0], choice: spread })];
  },

  epilogue(m, { hidden_states, temb }, { patch, outChannels }, { grid }) {
    const patches = modulatedOutput(m, hidden_states, { temb, outFeatures: patch[0] * patch[1] * outChannels });
    return unpatchify(patches, { grid: grid as number[], patch });
  },
});

/** As evenly as it goes; the last block gets nothing. */
const spread: SampleChoice = (index, { samples, count }) =>
  index === count - 1 ? undefined : Math.floor(index / (count / samples));
