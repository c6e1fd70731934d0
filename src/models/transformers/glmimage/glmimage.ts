/**
 * GLM-Image (Z.ai, 2026), Diffusers' `GlmImageTransformer2DModel`: CogView4's blocks as the decoder of a language model that has already
 * drawn the picture in tokens.
 *
 * Notation: D = heads · head dim is the width; tokens are [text, image]. The embeddings of the drawn ("prior") tokens, one per image token,
 * are added to the image; without guidance by them they are zero. The text is for glyphs. Time, picture size and crop are summed to
 * `temb`; both streams have the same weights.
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
import { embedding, sinusoidalEmbedding, textProjection, timestepEmbedding } from '../../../nn/embeddings.ts';
import { feedForward, linear } from '../../../nn/linear.ts';
import { sublayerModulations } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { adaLayerNormContinuous, modulation } from '../../../nn/norms.ts';
import { patchGrid, patchify, unpatchify } from '../../../nn/patches.ts';
import { gridPositions, rotaryTables } from '../../../nn/rotary.ts';
import { dualStreamBlock } from '../../../nn/stream-blocks.ts';
import { floatTensor } from '../../../tensor/tensor.ts';
import { defineTransformer, type State } from '../../definition.ts';
import { type CogView4Sizes, cogView4Sizes } from '../cogview4/cogview4-sizes.ts';

interface GlmImageConfig extends CogView4Sizes {
  codebook: number;
}

type GlmImageState = AttentionInputs & {
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
};

const epsilon = 1e-5;

export const glmImageTransformer = defineTransformer<GlmImageConfig, GlmImageState>({
  className: 'GlmImageTransformer2DModel',
  separateCfg: true,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['time_condition_embed.**'],

  parseConfig(config) {
    return {
      ...cogView4Sizes(config, { textWidth: 1472 }),
      codebook: config.integer('prior_vq_quantizer_codebook_size', 16384),
    };
  },

  inputs: ({ inChannels, textWidth }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'height', 'width'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'prior_token_id', kind: 'int', shape: ['batch', 'image_tokens'] },
    { name: 'prior_token_drop', kind: 'bool', shape: ['batch', 'image_tokens'], orShape: ['batch'] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'target_size', kind: 'float', shape: ['batch', 2] },
    { name: 'crop_coords', kind: 'float', shape: ['batch', 2] },
  ],

  /** Text sits at position 0, which does not turn it. */
  prepare({ prior_token_drop, ...tensors }, { patchSize, headDim }) {
    const grid = patchGrid('hidden_states', tensors.hidden_states!, [patchSize, patchSize]);
    const cells = gridPositions(grid);
    const prior = tensors.prior_token_id!;
    if (prior.dim(1) !== cells.length) {
      throw new DejaDitError(
        'SHAPE_MISMATCH',
        `shape [${prior.shape}], expected [batch, ${cells.length}]: one for each image token`,
        {
          path: 'prior_token_id',
        },
      );
    }
    const text = Array.from({ length: tensors.encoder_hidden_states!.dim(1) }, () => [0, 0]);
    const rotary = rotaryTables([...text, ...cells], {
      axesDim: [headDim / 2, headDim / 2],
      theta: 10000,
      precision: 'single',
    });
    const kept = Float32Array.from(prior_token_drop!.data as Uint8Array, (drop) => (drop ? 0 : 1));
    return {
      tensors: {
        ...tensors,
        prior_kept: floatTensor(kept, [prior.dim(0), kept.length / prior.dim(0), 1]),
        ...attentionTensors(rotary),
      },
      statics: { grid },
    };
  },

  prologue(m, inputs, config) {
    const { width, patchSize, codebook } = config;
    const patches = patchify(inputs.hidden_states!, [patchSize, patchSize], 'first');
    const prior = embedding(m.at('prior_token_embedding'), inputs.prior_token_id!, { count: codebook, width });
    const drawn = feedForward(m.at('prior_projector'), prior.mul(inputs.prior_kept!), {
      activation: 'linear-silu',
      inner: width,
    });
    const text = inputs.encoder_hidden_states!;
    return {
      hidden_states: linear(m.at('image_projector.proj'), patches, width).add(drawn),
      encoder_hidden_states: feedForward(m.at('glyph_projector'), text, {
        activation: 'gelu',
        inner: width,
        out: width,
      }),
      temb: timeAndSizes(m.at('time_condition_embed'), inputs, config),
      ...attentionInputs(inputs),
    };
  },

  smallestCalls: ({ patchSize }) => [{ sizes: { height: patchSize, width: patchSize } }],

  blockLists: (config) => [
    { name: 'transformer_blocks', pattern: 0, count: config.blocks, block: (m, state) => glmBlock(m, state, config) },
  ],

  epilogue(m, { hidden_states, temb }, { patchSize, outChannels }, { grid }) {
    const normed = adaLayerNormContinuous(m.at('norm_out'), hidden_states, temb, { epsilon });
    const patches = linear(m.at('proj_out'), normed, patchSize ** 2 * outChannels);
    return unpatchify(patches, { grid: grid as number[], patch: [patchSize, patchSize], channels: 'first' });
  },
});

/** The sum of the embeddings of time and sizes, [B, timeWidth]. */
const timeAndSizes = layer((m, inputs: State, { timeWidth, conditionWidth }: GlmImageConfig): SymbolicTensor => {
  const time = sinusoidalEmbedding(inputs.timestep!, { dim: timeWidth });
  const sizes = concat([inputs.crop_coords!, inputs.target_size!], 1);
  const features = sinusoidalEmbedding(sizes.reshape([-1]), { dim: conditionWidth }).reshape([sizes.dim(0), -1]);
  return timestepEmbedding(m.at('timestep_embedder'), time, timeWidth).add(
    textProjection(m.at('condition_embedder'), features, 'silu', timeWidth),
  );
});

const glmBlock = layer((m, state: GlmImageState, { heads, width }: GlmImageConfig): Partial<GlmImageState> => {
  // Image and text take turns: shift, shift, scale, scale, gate, gate; first those of attention, then of the feed-forward.
  const vectors = modulation(m.at('norm1'), state.temb, 12, { width });
  const stream = (x: SymbolicTensor, parity: 0 | 1) => ({
    x,
    modulations: sublayerModulations(
      vectors.filter((_, i) => i % 2 === parity),
      2,
    ),
    feedForward: (normed: SymbolicTensor) =>
      feedForward(m.at('ff'), normed, { activation: 'gelu-approximate', inner: 4 * width }),
  });
  return dualStreamBlock({
    image: stream(state.hidden_states, 0),
    text: stream(state.encoder_hidden_states, 1),
    epsilon,
    attend: (normed) =>
      sharedAttention(m.at('attn1'), normed, {
        heads,
        qkNorm: { kind: 'fp32_layer_norm', epsilon },
        rotary: { ...attentionOptions(state).rotary, interleaved: false },
      }),
  });
});
