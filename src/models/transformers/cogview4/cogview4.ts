/**
 * CogView4 (Zhipu AI and Tsinghua University, 2025), Diffusers' `CogView4Transformer2DModel`: text and image as one sequence
 * [text, image] in every block, with one set of projections and one feed-forward for both streams. Only their modulations differ.
 *
 * Notation: D = heads · head dim is the width. `temb` is the sum of the embeddings of time and of the image's sizes (original,
 * crop and target, in pixels). Rotary positions are spread over a grid of fixed size, whatever the image's; text has none.
 */
import { DejaDitError } from '../../../errors/errors.ts';
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { sharedAttention } from '../../../nn/attention/attention.ts';
import {
  type AttentionInputs,
  attentionInputs,
  attentionOptions,
  attentionTensors,
} from '../../../nn/attention/attention-inputs.ts';
import { sinusoidalEmbedding, textProjection, timestepEmbedding } from '../../../nn/embeddings.ts';
import { feedForward, linear } from '../../../nn/linear.ts';
import { sublayerModulations } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { adaLayerNormContinuous, modulation } from '../../../nn/norms.ts';
import { patchGrid, patchify, unpatchify } from '../../../nn/patches.ts';
import { gridPositions, rotaryTables } from '../../../nn/rotary.ts';
import { dualStreamBlock } from '../../../nn/stream-blocks.ts';
import { defineTransformer } from '../../definition.ts';
import { type CogView4Sizes, cogView4Sizes } from './cogview4-sizes.ts';

interface CogView4Config extends CogView4Sizes {
  /** Rows and columns of the position grid. */
  positionGrid: readonly number[];
  /** Edge of the latents that it was trained at. */
  sampleSize: number;
}

type CogView4State = AttentionInputs & {
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
};

/** Of every LayerNorm in the model. */
const epsilon = 1e-5;

export const cogView4Transformer = defineTransformer<CogView4Config, CogView4State>({
  className: 'CogView4Transformer2DModel',
  separateCfg: true,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['time_condition_embed.**'],

  parseConfig(config) {
    const positionGrid = config.counts('rope_axes_dim', [256, 256]);
    if (positionGrid.length !== 2) {
      throw new DejaDitError('INVALID_CONFIG', `'rope_axes_dim' is [${positionGrid}], expected [rows, columns]`, {
        path: config.origin,
      });
    }
    return {
      ...cogView4Sizes(config, { textWidth: 4096 }),
      positionGrid,
      sampleSize: config.integer('sample_size', 128),
    };
  },

  traits: ({ width, inChannels, outChannels, patchSize, sampleSize, textWidth }) => ({
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
    { name: 'original_size', kind: 'float', shape: ['batch', 2] },
    { name: 'target_size', kind: 'float', shape: ['batch', 2] },
    { name: 'crop_coords', kind: 'float', shape: ['batch', 2] },
  ],

  /** Text sits at position 0, which does not turn it; image tokens at their row and column in the position grid. */
  prepare(tensors, { patchSize, headDim, positionGrid }) {
    const grid = patchGrid('hidden_states', tensors.hidden_states!, [patchSize, patchSize]);
    const text = Array.from({ length: tensors.encoder_hidden_states!.dim(1) }, () => [0, 0]);
    const image = gridPositions(grid).map((position) =>
      position.map((index, axis) => Math.floor((index * positionGrid[axis]!) / grid[axis]!)),
    );
    const rotary = rotaryTables([...text, ...image], {
      axesDim: [headDim / 2, headDim / 2],
      theta: 10000,
      precision: 'single',
    });
    return { tensors: { ...tensors, ...attentionTensors(rotary) }, statics: { grid } };
  },

  prologue(m, inputs, config) {
    const patches = patchify(inputs.hidden_states!, [config.patchSize, config.patchSize], 'first');
    return {
      hidden_states: linear(m.at('patch_embed.proj'), patches, config.width),
      encoder_hidden_states: linear(m.at('patch_embed.text_proj'), inputs.encoder_hidden_states!, config.width),
      temb: timeAndSizes(m.at('time_condition_embed'), inputs, config),
      ...attentionInputs(inputs),
    };
  },

  smallestCalls: ({ patchSize }) => [{ sizes: { height: patchSize, width: patchSize } }],

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 0,
      count: config.blocks,
      block: (m, state) => block(m, state, config),
    },
  ],

  epilogue(m, { hidden_states, temb }, { patchSize, outChannels }, { grid }) {
    const normed = adaLayerNormContinuous(m.at('norm_out'), hidden_states, temb, { epsilon });
    return unpatchify(linear(m.at('proj_out'), normed, patchSize ** 2 * outChannels), {
      grid: grid as readonly number[],
      patch: [patchSize, patchSize],
      channels: 'first',
    });
  },
});

/** The sum of the embeddings of time and sizes, [B, timeWidth]; the six numbers of the sizes become sinusoids side by side. */
const timeAndSizes = layer((m, inputs: Record<string, SymbolicTensor>, config: CogView4Config): SymbolicTensor => {
  const time = sinusoidalEmbedding(inputs.timestep!, { dim: config.width });
  const sizes = concat([inputs.original_size!, inputs.crop_coords!, inputs.target_size!], 1);
  const features = sinusoidalEmbedding(sizes.reshape([-1]), { dim: config.conditionWidth });
  return timestepEmbedding(m.at('timestep_embedder'), time, config.timeWidth).add(
    textProjection(m.at('condition_embedder'), features.reshape([sizes.dim(0), -1]), 'silu', config.timeWidth),
  );
});

const block = layer((m, state: CogView4State, config: CogView4Config): Partial<CogView4State> => {
  // Image and text take turns: shift, shift, scale, scale, gate, gate; first those of attention, then of the feed-forward.
  const vectors = modulation(m.at('norm1'), state.temb, 12, config);
  const stream = (x: SymbolicTensor, parity: 0 | 1) => ({
    x,
    modulations: sublayerModulations(
      vectors.filter((_, i) => i % 2 === parity),
      2,
    ),
    feedForward: (normed: SymbolicTensor) =>
      feedForward(m.at('ff'), normed, { activation: 'gelu-approximate', inner: 4 * config.width }),
  });
  return dualStreamBlock({
    image: stream(state.hidden_states, 0),
    text: stream(state.encoder_hidden_states, 1),
    epsilon,
    attend: (normed) =>
      sharedAttention(m.at('attn1'), normed, {
        heads: config.heads,
        qkNorm: { kind: 'fp32_layer_norm', epsilon },
        rotary: { ...attentionOptions(state).rotary, interleaved: false },
      }),
  });
});
