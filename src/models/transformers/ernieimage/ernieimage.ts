/**
 * ERNIE-Image (Baidu, 2026), Diffusers' `ErnieImageTransformer2DModel`: one stream of image and text tokens, modulated by vectors that all
 * blocks share as they are.
 *
 * Notation: D = `hidden_size` is the width; tokens are [image, text]. Text sits at positions (index, 0, 0), the image at (length of the
 * sample's text, row, column). Rotary angles stand twice, side by side, but features turn with those half a head away: the two that
 * turn together do so by different angles, so a turn is no rotation here, and is written out.
 */

import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attend, projectQkv } from '../../../nn/attention/attention.ts';
import { keyMask } from '../../../nn/attention/attention-mask.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { gatedFeedForward, linear } from '../../../nn/linear.ts';
import { type SublayerModulation, sublayerModulations } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { modulatedLayerNorm, perToken, rmsNorm } from '../../../nn/norms.ts';
import { patchEmbedding, patchGrid, unpatchify } from '../../../nn/patches.ts';
import { gridPositions, rotaryTables } from '../../../nn/rotary.ts';
import { dims, floatTensor, type Tensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';

interface ErnieImageConfig {
  inChannels: number;
  outChannels: number;
  patchSize: number;
  blocks: number;
  heads: number;
  width: number;
  mlpWidth: number;
  textWidth: number;
  axesDim: readonly number[];
  theta: number;
  epsilon: number;
}

type ErnieImageState = MaskState & {
  /** [image, text]. */
  hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
  /** [B, 1, 6·D]. */
  shared_modulation: SymbolicTensor;
  /** [B, S, 1, turned width]. */
  turn_cos: SymbolicTensor;
  turn_sin: SymbolicTensor;
};

type MaskState = { mask_keys?: SymbolicTensor; mask_bias?: SymbolicTensor };

export const ernieImageTransformer = defineTransformer<ErnieImageConfig, ErnieImageState>({
  className: 'ErnieImageTransformer2DModel',
  separateCfg: false,
  tokens: { hidden_states: 1 },
  float32Modules: ['time_embedding.**'],

  parseConfig(config) {
    config.requires('qk_layernorm', true);
    return {
      inChannels: config.integer('in_channels', 128),
      outChannels: config.integer('out_channels', 128),
      patchSize: config.count('patch_size', 1),
      blocks: config.layers('num_layers', 24),
      heads: config.count('num_attention_heads', 24),
      width: config.integer('hidden_size', 3072),
      mlpWidth: config.integer('ffn_hidden_size', 8192),
      textWidth: config.integer('text_in_dim', 2560),
      axesDim: config.counts('rope_axes_dim', [32, 48, 48]),
      theta: config.positive('rope_theta', 256),
      epsilon: config.positive('eps', 1e-6),
    };
  },

  traits: ({ width, inChannels, outChannels, patchSize, textWidth }) => ({
    width,
    inChannels,
    outChannels,
    patch: [1, patchSize, patchSize],
    textWidth,
  }),

  inputs: ({ inChannels, textWidth }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'height', 'width'] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'text_bth', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'text_lens', kind: 'int', shape: ['batch'] },
  ],

  prepare({ text_lens, ...tensors }, { patchSize, axesDim, theta }) {
    const grid = patchGrid('hidden_states', tensors.hidden_states!, [patchSize, patchSize]);
    const cells = gridPositions(grid);
    const [batch, tokens] = dims(tensors.text_bth!, 3);
    const lengths = Array.from(text_lens!.data as BigInt64Array, Number);
    const text = Array.from({ length: tokens }, (_, token) => [token, 0, 0]);
    const positions = lengths.flatMap((length) => [...cells.map((cell) => [length, ...cell]), ...text]);
    const { cos, sin } = rotaryTables(positions, { axesDim, theta, precision: 'single' });
    const twice = (table: Tensor) => {
      const out = Float32Array.from({ length: 2 * table.size }, (_, i) => table.f32[Math.floor(i / 2)]!);
      return floatTensor(out, [batch, cells.length + tokens, 1, 2 * table.dim(-1)]);
    };
    const mask = keyMask(
      lengths.map((length) => [...cells.map(() => true), ...text.map((_, token) => token < length)]),
    );
    return {
      tensors: {
        ...tensors,
        turn_cos: twice(cos),
        turn_sin: twice(sin),
        ...(mask.keys ? { mask_keys: mask.keys } : {}),
        ...(mask.bias ? { mask_bias: mask.bias } : {}),
      },
      statics: { grid },
    };
  },

  prologue(m, inputs, { width, patchSize, textWidth }) {
    const time = sinusoidalEmbedding(inputs.timestep!, { dim: width, flipSinToCos: false });
    const temb = timestepEmbedding(m.at('time_embedding'), time, width);
    const image = patchEmbedding(m.at('x_embedder'), inputs.hidden_states!, { patch: [patchSize, patchSize], width });
    const text = inputs.text_bth!;
    const projected = textWidth === width ? text : linear(m.at('text_proj'), text, width, { bias: false });
    return {
      hidden_states: concat([image, projected], 1),
      temb,
      shared_modulation: perToken(linear(m.at('adaLN_modulation.1'), temb.silu(), 6 * width)),
      turn_cos: inputs.turn_cos!,
      turn_sin: inputs.turn_sin!,
      ...(inputs.mask_keys ? { mask_keys: inputs.mask_keys } : {}),
      ...(inputs.mask_bias ? { mask_bias: inputs.mask_bias } : {}),
    };
  },

  smallestCalls: ({ patchSize }) => [{ sizes: { height: patchSize, width: patchSize } }],

  blockLists: (config) => [
    { name: 'layers', pattern: 3, count: config.blocks, block: (m, state) => ernieBlock(m, state, config) },
  ],

  epilogue(m, { hidden_states, temb }, { width, patchSize, outChannels, epsilon }, { grid }) {
    const [rows, columns] = grid as [number, number];
    const [scale, shift] = linear(m.at('final_norm.linear'), temb, 2 * width).chunk(2);
    const normed = modulatedLayerNorm(hidden_states.slice(1, 0, rows * columns), { scale, shift }, epsilon);
    const patches = linear(m.at('final_linear'), normed, patchSize ** 2 * outChannels);
    return unpatchify(patches, { grid: [rows, columns], patch: [patchSize, patchSize] });
  },
});

const ernieBlock = layer((m, state: ErnieImageState, config: ErnieImageConfig): Partial<ErnieImageState> => {
  const { mlpWidth, epsilon } = config;
  const [ofAttention, ofMlp] = sublayerModulations(state.shared_modulation.chunk(6), 2);
  const residual = (
    x: SymbolicTensor,
    norm: string,
    { scale, shift, gate }: SublayerModulation,
    sublayer: (normed: SymbolicTensor) => SymbolicTensor,
  ) => x.add(gate.mul(sublayer(rmsNorm(m.at(norm), x, epsilon).mul(scale.add(1)).add(shift))));
  const attendAll = (x: SymbolicTensor) => ernieAttention(m.at('self_attention'), x, state, config);
  const mlp = (x: SymbolicTensor) =>
    gatedFeedForward(m.at('mlp'), x, {
      inner: mlpWidth,
      names: { gate: 'gate_proj', value: 'up_proj', out: 'linear_fc2' },
      activation: 'gelu',
      bias: false,
    });
  const informed = residual(state.hidden_states, 'adaLN_sa_ln', ofAttention, attendAll);
  return { hidden_states: residual(informed, 'adaLN_mlp_ln', ofMlp, mlp) };
});

const ernieAttention = layer(
  (m, x: SymbolicTensor, state: ErnieImageState, config: ErnieImageConfig): SymbolicTensor => {
    const { heads, epsilon } = config;
    const { turn_cos: cos, turn_sin: sin, mask_keys: keys, mask_bias: bias } = state;
    const { query, key, value } = projectQkv(m, x, {
      heads,
      qkNorm: { kind: 'rms_norm', epsilon },
      projectionBias: false,
    });
    const turned = (y: SymbolicTensor) => {
      const ofHeads = y.reshape([y.dim(0), y.dim(1), heads, -1]);
      const part = ofHeads.slice(-1, 0, cos.dim(-1));
      const [first, second] = part.chunk(2);
      const out = part.mul(cos).add(concat([second.neg(), first], -1).mul(sin));
      const rest = part.dim(-1) < ofHeads.dim(-1) ? [ofHeads.slice(-1, part.dim(-1))] : [];
      return concat([out, ...rest], -1).reshape(y.shape);
    };
    const attended = attend({ query: turned(query), key: turned(key), value, heads, mask: { keys, bias } });
    return linear(m.at('to_out.0'), attended, x.dim(-1), { bias: false });
  },
);
