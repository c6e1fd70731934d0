/**
 * Kandinsky 5.0 (Kandinsky Lab, 2025, arXiv 2511.14993), Diffusers' `Kandinsky5Transformer3DModel`: "CrossDiT", a video transformer that
 * reads text by cross-attention; the text is first refined by blocks of its own.
 *
 * Notation: D = `model_dim` is the width; latents arrive with channels last, [B, F, H, W, C], and so does the result. Positions of
 * frames, rows, columns and of text tokens are given by the caller. Time plus pooled text modulate every sublayer. As in Diffusers,
 * turned queries and keys are rounded to bfloat16 whatever the model computes in.
 */

import { DejaDitError } from '../../../errors/errors.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { sinusoidalEmbedding } from '../../../nn/embeddings.ts';
import { linear } from '../../../nn/linear.ts';
import { modulatedResidual, projectModulations } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { modulatedLayerNorm } from '../../../nn/norms.ts';
import { patchGrid, patchify, unpatchify } from '../../../nn/patches.ts';
import { gridPositions, type Rotary, rotaryTables } from '../../../nn/rotary.ts';
import { intTensor, rows } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import type { InputValue } from '../../inputs.ts';
import { axisPositions, headsOf, kandinskyAttention, textEmbedding } from './kandinsky-layers.ts';

interface Kandinsky5Config {
  channels: number;
  outChannels: number;
  textWidth: number;
  pooledWidth: number;
  timeWidth: number;
  width: number;
  mlpWidth: number;
  patch: readonly [number, number, number];
  textBlocks: number;
  blocks: number;
  heads: number;
  axesDim: readonly number[];
}

type Kandinsky5State = {
  hidden_states: SymbolicTensor;
  /** Refined text, the same for all blocks. */
  encoder_hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
  rotary_cos: SymbolicTensor;
  rotary_sin: SymbolicTensor;
};

const epsilon = 1e-5;

export const kandinsky5Transformer = defineTransformer<Kandinsky5Config, Kandinsky5State>({
  className: 'Kandinsky5Transformer3DModel',
  separateCfg: true,
  tokens: { hidden_states: 1 },
  float32Modules: ['time_embeddings.**'],

  parseConfig(config) {
    config.requires('attention_type', 'regular');
    const inChannels = config.integer('in_visual_dim', 4);
    const axesDim = config.counts('axes_dims', [16, 24, 24]);
    const width = config.integer('model_dim', 2048);
    return {
      // Image-to-video models also get the first frame and a mask.
      channels: config.boolean('visual_cond', false) ? 2 * inChannels + 1 : inChannels,
      outChannels: config.integer('out_visual_dim', 4),
      textWidth: config.integer('in_text_dim', 3584),
      pooledWidth: config.integer('in_text_dim2', 768),
      timeWidth: config.integer('time_dim', 512),
      width,
      mlpWidth: config.integer('ff_dim', 5120),
      patch: config.counts('patch_size', [1, 2, 2]) as [number, number, number],
      textBlocks: config.layers('num_text_blocks', 2),
      blocks: config.layers('num_visual_blocks', 32),
      heads: headsOf(config, { width, axesDim }),
      axesDim,
    };
  },

  traits: ({ width, channels, outChannels, patch, textWidth }) => ({
    width,
    inChannels: channels,
    outChannels,
    patch,
    textWidth,
  }),

  inputs: ({ channels, textWidth, pooledWidth }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'frames', 'height', 'width', channels] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'pooled_projections', kind: 'float', shape: ['batch', pooledWidth] },
    { name: 'visual_rope_pos', kind: 'other' },
    { name: 'text_rope_pos', kind: 'float', shape: ['text_tokens'] },
    { name: 'scale_factor', kind: 'other', optional: true },
  ],

  prepare({ text_rope_pos, ...tensors }, { patch, axesDim }, inputs) {
    const [batch, frames, height, width, channels] = tensors.hidden_states!.shape as [
      number,
      number,
      number,
      number,
      number,
    ];
    const grid = patchGrid('hidden_states', { shape: [batch, channels, frames, height, width] }, patch);
    const axes = axisPositions(inputs.visual_rope_pos, grid);
    const scale = scaleFactor(inputs.scale_factor);
    const positions = gridPositions(grid).map((cell) => cell.map((index, axis) => axes[axis]![index]! / scale[axis]!));
    const options = { theta: 10000, precision: 'single' } as const;
    const headDim = axesDim.reduce((sum, dim) => sum + dim);
    const ofText = rotaryTables(rows(text_rope_pos!.reshape([-1, 1])), { axesDim: [headDim], ...options });
    const rotary = rotaryTables(positions, { axesDim, ...options });
    return {
      tensors: {
        ...tensors,
        text_cos: ofText.cos,
        text_sin: ofText.sin,
        rotary_cos: rotary.cos,
        rotary_sin: rotary.sin,
      },
      statics: { grid },
    };
  },

  prologue(m, inputs, config) {
    const { width, timeWidth, patch, textBlocks } = config;
    const time = m.at('time_embeddings');
    const features = linear(time.at('in_layer'), sinusoidalEmbedding(inputs.timestep!, { dim: width }), timeWidth);
    const temb = linear(time.at('out_layer'), features.silu(), timeWidth).add(
      textEmbedding(m.at('pooled_text_embeddings'), inputs.pooled_projections!, timeWidth),
    );
    let text = textEmbedding(m.at('text_embeddings'), inputs.encoder_hidden_states!, width);
    const rotary = { cos: inputs.text_cos!, sin: inputs.text_sin! };
    for (let i = 0; i < textBlocks; i++) {
      text = textBlock(m.at(`text_transformer_blocks.${i}`), text, { temb, rotary, config });
    }
    const video = patchify(inputs.hidden_states!.transpose([0, 4, 1, 2, 3]), patch);
    return {
      hidden_states: linear(m.at('visual_embeddings.in_layer'), video, width),
      encoder_hidden_states: text,
      temb,
      rotary_cos: inputs.rotary_cos!,
      rotary_sin: inputs.rotary_sin!,
    };
  },

  smallestCalls: ({ patch: [frames, height, width] }) => [
    {
      sizes: { frames, height, width },
      inputs: { visual_rope_pos: [0, 0, 0].map((at) => intTensor([at])), scale_factor: [1, 1, 1] },
    },
  ],

  blockLists: (config) => [
    {
      name: 'visual_transformer_blocks',
      pattern: 3,
      count: config.blocks,
      block: (m, state) => visualBlock(m, state, config),
    },
  ],

  epilogue(m, { hidden_states, temb }, { width, patch, outChannels }, { grid }) {
    const out = m.at('out_layer');
    const [shift, scale] = linear(out.at('modulation.out_layer'), temb.silu(), 2 * width).chunk(2);
    const normed = modulatedLayerNorm(hidden_states, { shift, scale }, epsilon);
    const patches = linear(out.at('out_layer'), normed, outChannels * patch[0] * patch[1] * patch[2]);
    return unpatchify(patches, { grid: grid as number[], patch, channels: 'first' }).transpose([0, 2, 3, 4, 1]);
  },
});

interface TextBlock {
  temb: SymbolicTensor;
  rotary: Rotary;
  config: Kandinsky5Config;
}

const textBlock = layer((m, x: SymbolicTensor, { temb, rotary, config }: TextBlock): SymbolicTensor => {
  const [ofAttention, ofMlp] = projectModulations(m.at('text_modulation.out_layer'), temb, {
    sublayers: 2,
    width: config.width,
  });
  const informed = modulatedResidual(x, {
    modulation: ofAttention,
    epsilon,
    sublayer: (normed) =>
      kandinskyAttention(m.at('self_attention'), normed, { heads: config.heads, rotary, rounds: true }),
  });
  return modulatedResidual(informed, {
    modulation: ofMlp,
    epsilon,
    sublayer: (normed) => mlp(m.at('feed_forward'), normed, config),
  });
});

/** Self-attention, attention to the text, feed-forward; all modulated. */
const visualBlock = layer((m, state: Kandinsky5State, config: Kandinsky5Config): Partial<Kandinsky5State> => {
  const [ofAttention, ofText, ofMlp] = projectModulations(m.at('visual_modulation.out_layer'), state.temb, {
    sublayers: 3,
    width: config.width,
  });
  const rotary = { cos: state.rotary_cos, sin: state.rotary_sin };
  const context = state.encoder_hidden_states;
  let x = modulatedResidual(state.hidden_states, {
    modulation: ofAttention,
    epsilon,
    sublayer: (normed) =>
      kandinskyAttention(m.at('self_attention'), normed, { heads: config.heads, rotary, rounds: true }),
  });
  x = modulatedResidual(x, {
    modulation: ofText,
    epsilon,
    sublayer: (normed) => kandinskyAttention(m.at('cross_attention'), normed, { heads: config.heads, context }),
  });
  x = modulatedResidual(x, {
    modulation: ofMlp,
    epsilon,
    sublayer: (normed) => mlp(m.at('feed_forward'), normed, config),
  });
  return { hidden_states: x };
});

const mlp = layer((m, x: SymbolicTensor, { mlpWidth }: Kandinsky5Config): SymbolicTensor => {
  const hidden = linear(m.at('in_layer'), x, mlpWidth, { bias: false }).gelu();
  return linear(m.at('out_layer'), hidden, x.dim(-1), { bias: false });
});

/** What positions of each axis are divided by. */
function scaleFactor(value: InputValue): readonly number[] {
  if (value === undefined || value === null) return [1, 1, 1];
  if (Array.isArray(value) && value.length === 3 && value.every((factor) => Number(factor) > 0))
    return value.map(Number);
  throw new DejaDitError('INVALID_ARGUMENT', 'expected three numbers above 0: frames, rows, columns', {
    path: 'scale_factor',
  });
}
