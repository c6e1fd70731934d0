/**
 * DiT (Peebles & Xie, 2022, arXiv 2212.09748), Diffusers' `DiTTransformer2DModel`: the class-conditional transformer that showed
 * that plain ViT blocks can replace the UNet.
 *
 * Notation: D = heads · head dim is the width. Square latents are cut into patches, positions are fixed sines and cosines. Every block
 * embeds time and class itself and is modulated by their sum ("adaLN-Zero"); the output norm uses the first block's embedding.
 */

import { DejaDitError } from '../../../errors/errors.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attention } from '../../../nn/attention/attention.ts';
import { embedding, sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { type Activation, feedForward, linear } from '../../../nn/linear.ts';
import { adaLayerNormZero, modulatedResidual } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { modulatedLayerNorm } from '../../../nn/norms.ts';
import { patchEmbedding, patchGrid, unpatchify } from '../../../nn/patches.ts';
import { sincosPositions } from '../../../nn/sincos-positions.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';

interface DiTConfig {
  inChannels: number;
  outChannels: number;
  blocks: number;
  heads: number;
  width: number;
  patch: readonly [number, number];
  /** Edge of the latents that it was trained at. */
  sampleSize: number;
  /** Without the null class, which follows the last one and stands for "no class" in guidance. */
  classes: number;
  activation: Activation;
  attentionBias: boolean;
  /** Of the norm before the feed-forward; the one before attention has 1e-6. */
  normEpsilon: number;
}

type DiTState = {
  hidden_states: SymbolicTensor;
  time_features: SymbolicTensor;
  class_labels: SymbolicTensor;
};

export const ditTransformer = defineTransformer<DiTConfig, DiTState>({
  className: 'DiTTransformer2DModel',
  separateCfg: false,
  tokens: { hidden_states: 1 },
  float32Modules: ['transformer_blocks.*.norm1.emb.**'],

  parseConfig(config) {
    config.requires('norm_type', 'ada_norm_zero');
    config.requires('norm_elementwise_affine', false);
    const heads = config.count('num_attention_heads', 16);
    const inChannels = config.integer('in_channels', 4);
    const patch = config.count('patch_size', 2);
    return {
      inChannels,
      outChannels: config.outChannels(inChannels),
      blocks: config.layers('num_layers', 28),
      heads,
      width: heads * config.count('attention_head_dim', 72),
      patch: [patch, patch],
      sampleSize: config.integer('sample_size', 32, { min: patch }),
      classes: config.integer('num_embeds_ada_norm', 1000),
      activation: config.choice('activation_fn', ['gelu-approximate', 'gelu', 'geglu'], 'gelu-approximate'),
      attentionBias: config.boolean('attention_bias', true),
      normEpsilon: config.positive('norm_eps', 1e-5),
    };
  },

  traits: ({ width, inChannels, outChannels, patch, sampleSize, classes }) => ({
    width,
    inChannels,
    outChannels,
    patch: [1, ...patch],
    sampleSize,
    classes,
  }),

  inputs: ({ inChannels }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'size', 'size'] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'class_labels', kind: 'int', shape: ['batch'] },
  ],

  prepare({ hidden_states, timestep, class_labels }, { patch, width, sampleSize, classes }) {
    checkLabels(class_labels!, classes);
    const grid = patchGrid('hidden_states', hidden_states!, patch);
    const baseSize = Math.floor(sampleSize / patch[0]);
    const positions = sincosPositions(grid, { width, baseSize });
    return {
      tensors: { hidden_states: hidden_states!, timestep: timestep!, class_labels: class_labels!, positions },
      statics: { grid },
    };
  },

  prologue(m, { hidden_states, timestep, class_labels, positions }, { patch, width }) {
    return {
      hidden_states: patchEmbedding(m.at('pos_embed'), hidden_states!, { patch, width }).add(positions!),
      time_features: sinusoidalEmbedding(timestep!, { dim: 256, shift: 1 }),
      class_labels: class_labels!,
    };
  },

  smallestCalls: ({ patch: [size] }) => [{ sizes: { size } }],

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 3,
      count: config.blocks,
      block: (m, state) => ditBlock(m, state, config),
    },
  ],

  epilogue(m, state, config, { grid }) {
    const conditioning = timeAndClass(m.at('transformer_blocks.0.norm1.emb'), state, config);
    const [shift, scale] = linear(m.at('proj_out_1'), conditioning.silu(), 2 * config.width).chunk(2);
    const normed = modulatedLayerNorm(state.hidden_states, { shift, scale });
    const [height, width] = config.patch;
    const patches = linear(m.at('proj_out_2'), normed, height * width * config.outChannels);
    return unpatchify(patches, { grid: grid as number[], patch: config.patch });
  },
});

const ditBlock = layer((m, state: DiTState, config: DiTConfig): Partial<DiTState> => {
  const { heads, width, activation, attentionBias: projectionBias, normEpsilon } = config;
  const conditioning = timeAndClass(m.at('norm1.emb'), state, config);
  const [ofAttention, ofMlp] = adaLayerNormZero(m.at('norm1'), conditioning, { sublayers: 2, width });

  const attended = modulatedResidual(state.hidden_states, {
    modulation: ofAttention,
    sublayer: (x) => attention(m.at('attn1'), x, { heads, projectionBias }),
  });
  const hidden_states = modulatedResidual(attended, {
    modulation: ofMlp,
    epsilon: normEpsilon,
    sublayer: (x) => feedForward(m.at('ff'), x, { activation, inner: 4 * width }),
  });
  return { hidden_states };
});

/** Diffusers' CombinedTimestepLabelEmbeddings: the sum of time MLP and class table, [B, D]. */
const timeAndClass = layer((m, { time_features, class_labels }: DiTState, { width, classes }: DiTConfig) => {
  const time = timestepEmbedding(m.at('timestep_embedder'), time_features, width);
  return time.add(embedding(m.at('class_embedder.embedding_table'), class_labels, { count: classes + 1, width }));
});

function checkLabels(labels: Tensor, classes: number): void {
  const wrong = Array.from(labels.data as BigInt64Array, Number).find((label) => label < 0 || label > classes);
  if (wrong === undefined) return;
  throw new DejaDitError('INVALID_ARGUMENT', `label ${wrong}, expected 0 to ${classes} (${classes}: no class)`, {
    path: 'class_labels',
  });
}
