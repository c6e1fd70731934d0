/**
 * OmniGen (BAAI, 2024, arXiv 2409.11340), Diffusers' `OmniGenTransformer2DModel`: a language model (Phi-3) that makes pictures. Prompt,
 * pictures to look at, the time and the picture to make are one sequence.
 *
 * Notation: D = `hidden_size` is the width; tokens are [prompt, time, image], with the tokens of given pictures in place of the prompt's
 * placeholders. The caller says who sees whom and where tokens sit. Rotary frequencies are divided by factors of their own for short
 * and for long sequences ("su", arXiv 2402.13753), and the turned vectors lengthened.
 */

import { DejaDitError } from '../../../errors/errors.ts';
import { concat, gather } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attention } from '../../../nn/attention/attention.ts';
import { MASKED } from '../../../nn/attention/attention-mask.ts';
import { embedding, sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { fusedFeedForward, linear } from '../../../nn/linear.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { modulatedLayerNorm, modulation, rmsNorm } from '../../../nn/norms.ts';
import { patchConvolution, patchGrid, unpatchify } from '../../../nn/patches.ts';
import { tableWindow } from '../../../nn/position-table.ts';
import { floatTensor } from '../../../tensor/tensor.ts';
import { ConfigReader } from '../../config-reader.ts';
import { defineTransformer } from '../../definition.ts';
import { givenImages, type SuRope, suRotary } from './inputs.ts';

interface OmniGenConfig {
  inChannels: number;
  patchSize: number;
  blocks: number;
  heads: number;
  keyValueHeads: number;
  width: number;
  mlpWidth: number;
  vocabulary: number;
  tableSize: number;
  timeFeatures: number;
  epsilon: number;
  rope: SuRope;
}

type OmniGenState = {
  /** [prompt, time, image]. */
  hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
  /** [B, 1, S, S]. */
  attention_bias: SymbolicTensor;
  rotary_cos: SymbolicTensor;
  rotary_sin: SymbolicTensor;
};

export const omniGenTransformer = defineTransformer<OmniGenConfig, OmniGenState>({
  className: 'OmniGenTransformer2DModel',
  separateCfg: false,
  tokens: { hidden_states: 1 },
  float32Modules: ['time_token.**', 't_embedder.**'],

  parseConfig(config) {
    config.requires('timestep_activation_fn', 'silu');
    config.requires('downscale_freq_shift', 0);
    config.requires('flip_sin_to_cos', true);
    const width = config.integer('hidden_size', 3072);
    const heads = config.count('num_attention_heads', 32);
    const factors = new ConfigReader((config.json.rope_scaling ?? {}) as Record<string, unknown>, config.origin);
    const rope = {
      width: width / heads,
      base: config.positive('rope_base', 10000),
      maxPositions: config.integer('max_position_embeddings', 131072),
      originalPositions: config.integer('original_max_position_embeddings', 4096),
      short: factors.positives('short_factor'),
      long: factors.positives('long_factor'),
    };
    if (rope.short.length !== rope.width / 2 || rope.long.length !== rope.width / 2) {
      throw new DejaDitError(
        'INVALID_CONFIG',
        `'rope_scaling' has ${rope.short.length} and ${rope.long.length} factors, expected ${rope.width / 2}`,
        {
          path: config.origin,
        },
      );
    }
    return {
      inChannels: config.integer('in_channels', 4),
      patchSize: config.count('patch_size', 2),
      blocks: config.layers('num_layers', 32),
      heads,
      keyValueHeads: config.count('num_key_value_heads', 32),
      width,
      mlpWidth: config.integer('intermediate_size', 8192),
      vocabulary: config.integer('vocab_size', 32064),
      tableSize: config.count('pos_embed_max_size', 192),
      timeFeatures: config.count('time_step_dim', 256),
      epsilon: config.positive('rms_norm_eps', 1e-5),
      rope,
    };
  },

  inputs: ({ inChannels }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'height', 'width'] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'input_ids', kind: 'int', shape: ['batch', 'prompt_tokens'] },
    { name: 'input_img_latents', kind: 'other' },
    { name: 'input_image_sizes', kind: 'other' },
    {
      name: 'attention_mask',
      kind: 'bool',
      shape: ['batch', 'tokens', 'tokens'],
      orShape: ['batch', 1, 'tokens', 'tokens'],
    },
    { name: 'position_ids', kind: 'float', shape: ['positions', 'tokens'] },
  ],

  prepare({ attention_mask, position_ids, ...tensors }, config, inputs) {
    const { patchSize, rope } = config;
    const grid = patchGrid('hidden_states', tensors.hidden_states!, [patchSize, patchSize]);
    const tokens = tensors.input_ids!.dim(1) + 1 + grid[0] * grid[1];
    if (attention_mask!.dim(-1) !== tokens) {
      throw new DejaDitError(
        'SHAPE_MISMATCH',
        `shape [${attention_mask!.shape}], expected [batch, ${tokens}, ${tokens}]`,
        {
          path: 'attention_mask',
        },
      );
    }
    const rotary = suRotary(position_ids!, rope);
    const bias = Float32Array.from(attention_mask!.data as Uint8Array, (seen) => (seen ? 0 : MASKED));
    const images = givenImages(inputs, { ids: tensors.input_ids!, ...config });
    return {
      tensors: {
        ...tensors,
        ...images.tensors,
        attention_bias: floatTensor(bias, [attention_mask!.dim(0), 1, tokens, tokens]),
        rotary_cos: rotary.cos,
        rotary_sin: rotary.sin,
      },
      statics: { grid, images: images.count },
    };
  },

  prologue(m, inputs, config, { grid, images }) {
    const { width, patchSize, vocabulary, timeFeatures } = config;
    const patches = m.at('patch_embedding');
    const embed = (name: string, latents: SymbolicTensor, size: readonly [number, number]) =>
      patchConvolution(patches.at(name), latents, { patch: [patchSize, patchSize], width }).add(
        croppedPositions(patches, size, config),
      );
    let prompt = embedding(m.at('embed_tokens'), inputs.input_ids!, { count: vocabulary, width });
    const given = Array.from({ length: Number(images) }, (_, i) => inputs[`image_${i}`]!).map((latents) =>
      embed('input_image_proj', latents, [latents.dim(2) / patchSize, latents.dim(3) / patchSize]).reshape([-1, width]),
    );
    if (given.length > 0) prompt = gather(concat([prompt.reshape([-1, width]), ...given], 0), inputs.prompt_rows!);
    const time = sinusoidalEmbedding(inputs.timestep!, { dim: timeFeatures });
    const timeToken = timestepEmbedding(m.at('time_token'), time, width).unsqueeze(1);
    const image = embed('output_image_proj', inputs.hidden_states!, grid as [number, number]);
    return {
      hidden_states: concat([prompt, timeToken, image], 1),
      temb: timestepEmbedding(m.at('t_embedder'), time, width),
      attention_bias: inputs.attention_bias!,
      rotary_cos: inputs.rotary_cos!,
      rotary_sin: inputs.rotary_sin!,
    };
  },

  smallestCalls: ({ inChannels, patchSize: edge }, ones) => [
    {
      sizes: { height: edge, width: edge, tokens: 3 },
      inputs: { input_img_latents: [ones([1, inChannels, edge, edge])], input_image_sizes: { 0: [[0, 1]] } },
    },
  ],

  blockLists: (config) => [
    { name: 'layers', pattern: 3, count: config.blocks, block: (m, state) => omniGenBlock(m, state, config) },
  ],

  epilogue(m, { hidden_states, temb }, { width, inChannels, patchSize, epsilon }, { grid }) {
    const [rows, columns] = grid as [number, number];
    const [shift, scale] = modulation(m.at('norm_out'), temb, 2, { width });
    const image = rmsNorm(m.at('norm'), hidden_states, epsilon).slice(1, hidden_states.dim(1) - rows * columns);
    const values = linear(m.at('proj_out'), modulatedLayerNorm(image, { shift, scale }), patchSize ** 2 * inChannels);
    return unpatchify(values, { grid: [rows, columns], patch: [patchSize, patchSize] });
  },
});

/** A layer of Phi-3. */
const omniGenBlock = layer((m, state: OmniGenState, config: OmniGenConfig): Partial<OmniGenState> => {
  const { heads, keyValueHeads, mlpWidth, epsilon } = config;
  const { hidden_states: x, attention_bias: bias, rotary_cos: cos, rotary_sin: sin } = state;
  const attended = attention(m.at('self_attn'), rmsNorm(m.at('input_layernorm'), x, epsilon), {
    heads,
    keyValueHeads,
    projectionBias: false,
    outputBias: false,
    rotary: { cos, sin, interleaved: false },
    bias,
  });
  const middle = x.add(attended);
  const normed = rmsNorm(m.at('post_attention_layernorm'), middle, epsilon);
  const names = { in: 'gate_up_proj', out: 'down_proj' };
  return { hidden_states: middle.add(fusedFeedForward(m.at('mlp'), normed, { inner: mlpWidth, names })) };
});

/** The middle of the position table. */
function croppedPositions(
  m: Module,
  grid: readonly [number, number],
  { tableSize, width }: OmniGenConfig,
): SymbolicTensor {
  const [top, left] = grid.map((size) => Math.floor((tableSize - size) / 2)) as [number, number];
  return tableWindow(m.weight('pos_embed', [1, tableSize ** 2, width]), { edge: tableSize, grid, corner: [top, left] });
}
