/**
 * PRX (Photoroom, 2025), Diffusers' `PRXTransformer2DModel`: one stream of image tokens that reads text by joining its keys and values
 * to the image's own in every self-attention. The text itself stays what it is.
 *
 * Notation: D = `hidden_size` is the width; keys are [text, image], and only the image has positions, its rows and columns. MLPs are
 * gated by tanh GELU. The pixel-space model brings wide patches down to D in two steps and is told the size of the picture.
 */

import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attend } from '../../../nn/attention/attention.ts';
import {
  type AttentionInputs,
  attentionInputs,
  attentionOptions,
  attentionTensors,
} from '../../../nn/attention/attention-inputs.ts';
import { keyMask, maskRows } from '../../../nn/attention/attention-mask.ts';
import { sinusoidalEmbedding } from '../../../nn/embeddings.ts';
import { gatedFeedForward, linear } from '../../../nn/linear.ts';
import { modulatedResidual, projectModulations } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { headRmsNorm, modulatedLayerNorm } from '../../../nn/norms.ts';
import { patchGrid, patchify, unpatchify } from '../../../nn/patches.ts';
import { applyRotary, gridPositions, rotaryTables } from '../../../nn/rotary.ts';
import { floatTensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';

interface PRXConfig {
  inChannels: number;
  patchSize: number;
  blocks: number;
  heads: number;
  width: number;
  mlpWidth: number;
  textWidth: number;
  axesDim: readonly number[];
  theta: number;
  timeFactor: number;
  maxPeriod: number;
  bottleneck: number | undefined;
  resolution: boolean;
}

type PRXState = AttentionInputs & {
  hidden_states: SymbolicTensor;
  /** Projected text, the same for all blocks. */
  encoder_hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
};

const epsilon = 1e-6;
const noBias = { bias: false };

export const prxTransformer = defineTransformer<PRXConfig, PRXState>({
  className: 'PRXTransformer2DModel',
  separateCfg: false,
  tokens: { hidden_states: 1 },
  float32Modules: ['time_in.**', 'resolution_embedder.**'],

  parseConfig(config) {
    const width = config.integer('hidden_size', 1792);
    return {
      inChannels: config.integer('in_channels', 16),
      patchSize: config.count('patch_size', 2),
      blocks: config.layers('depth', 16),
      heads: config.count('num_heads', 28),
      width,
      mlpWidth: Math.floor(width * config.positive('mlp_ratio', 3.5)),
      textWidth: config.integer('context_in_dim', 2304),
      axesDim: config.counts('axes_dim', [32, 32]),
      theta: config.positive('theta', 10000),
      timeFactor: config.positive('time_factor', 1000),
      maxPeriod: config.positive('time_max_period', 10000),
      bottleneck: config.nullable('bottleneck_size', (name) => config.integer(name)),
      resolution: config.boolean('resolution_embeds', false),
    };
  },

  traits: ({ width, inChannels, patchSize, textWidth }) => ({
    width,
    inChannels,
    outChannels: inChannels,
    patch: [1, patchSize, patchSize],
    textWidth,
  }),

  inputs: ({ inChannels, textWidth }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'height', 'width'] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'attention_mask', kind: 'bool', shape: ['batch', 'text_tokens'], optional: true },
  ],

  prepare({ attention_mask, ...tensors }, { patchSize, axesDim, theta }) {
    const grid = patchGrid('hidden_states', tensors.hidden_states!, [patchSize, patchSize]);
    const positions = gridPositions(grid);
    const visible = attention_mask && maskRows(attention_mask).map((text) => [...text, ...positions.map(() => true)]);
    const rotary = rotaryTables(positions, { axesDim, theta });
    return { tensors: { ...tensors, ...attentionTensors(rotary, visible && keyMask(visible)) }, statics: { grid } };
  },

  prologue(m, inputs, config) {
    const { width, patchSize, bottleneck, maxPeriod, timeFactor } = config;
    const image = inputs.hidden_states!;
    const patches = patchify(image, [patchSize, patchSize], 'first');
    let temb = embedder(
      m.at('time_in'),
      sinusoidalEmbedding(inputs.timestep!, { dim: 256, maxPeriod, scale: timeFactor }),
      width,
    );
    if (config.resolution) {
      const size = m.graph.constant(floatTensor(image.shape.slice(2)));
      const features = sinusoidalEmbedding(size, { dim: 128, maxPeriod }).reshape([1, 256]);
      temb = temb.add(embedder(m.at('resolution_embedder.mlp'), features, width));
    }
    return {
      hidden_states:
        bottleneck === undefined
          ? linear(m.at('img_in'), patches, width)
          : linear(m.at('img_in.1'), linear(m.at('img_in.0'), patches, bottleneck), width),
      encoder_hidden_states: linear(m.at('txt_in'), inputs.encoder_hidden_states!, width),
      temb,
      ...attentionInputs(inputs),
    };
  },

  smallestCalls: ({ patchSize }) => [{ sizes: { height: patchSize, width: patchSize } }],

  blockLists: (config) => [
    { name: 'blocks', pattern: 3, count: config.blocks, block: (m, state) => prxBlock(m, state, config) },
  ],

  epilogue(m, { hidden_states, temb }, { width, patchSize, inChannels }, { grid }) {
    const final = m.at('final_layer');
    const [shift, scale] = linear(final.at('adaLN_modulation.1'), temb.silu(), 2 * width).chunk(2);
    const patches = linear(
      final.at('linear'),
      modulatedLayerNorm(hidden_states, { shift, scale }, epsilon),
      patchSize ** 2 * inChannels,
    );
    return unpatchify(patches, { grid: grid as number[], patch: [patchSize, patchSize], channels: 'first' });
  },
});

const embedder = layer((m, features: SymbolicTensor, width: number): SymbolicTensor => {
  return linear(m.at('out_layer'), linear(m.at('in_layer'), features, width).silu(), width);
});

const prxBlock = layer((m, state: PRXState, config: PRXConfig): Partial<PRXState> => {
  const { width, mlpWidth } = config;
  const [ofAttention, ofMlp] = projectModulations(m.at('modulation.lin'), state.temb, { sublayers: 2, width });
  const informed = modulatedResidual(state.hidden_states, {
    modulation: ofAttention,
    epsilon,
    sublayer: (x) => textAwareAttention(m.at('attention'), x, state, config),
  });
  const hidden_states = modulatedResidual(informed, {
    modulation: ofMlp,
    epsilon,
    sublayer: (x) =>
      gatedFeedForward(m, x, {
        inner: mlpWidth,
        names: { gate: 'gate_proj', value: 'up_proj', out: 'down_proj' },
        activation: 'gelu-approximate',
        ...noBias,
      }),
  });
  return { hidden_states };
});

/** Image tokens attend to the text and to each other. */
const textAwareAttention = layer(
  (m, x: SymbolicTensor, state: PRXState, { heads, width }: PRXConfig): SymbolicTensor => {
    const { rotary, mask } = attentionOptions(state);
    const [query, key, value] = linear(m.at('img_qkv_proj'), x, 3 * width, noBias).chunk(3);
    const [textKey, textValue] = linear(m.at('txt_kv_proj'), state.encoder_hidden_states, 2 * width, noBias).chunk(2);
    const turned = (name: string, part: SymbolicTensor) =>
      applyRotary(headRmsNorm(m.at(name), part, heads, epsilon), rotary, heads);
    const attended = attend({
      query: turned('norm_q', query),
      key: concat([headRmsNorm(m.at('norm_added_k'), textKey, heads, epsilon), turned('norm_k', key)], 1),
      value: concat([textValue, value], 1),
      heads,
      mask,
    });
    return linear(m.at('to_out.0'), attended, width, noBias);
  },
);
