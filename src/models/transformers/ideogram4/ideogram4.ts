/**
 * Ideogram 4 (Ideogram, 2026), Diffusers' `Ideogram4Transformer2DModel`: one stream of text and image tokens in the order that the caller
 * gives.
 *
 * Notation: D = heads · head dim is the width. A token is text, image or padding as its `indicator` says, and sees those of its segment.
 * Time runs from noise (0) to image (1). Norms stand before and behind every sublayer; a narrow vector made from the time scales and
 * gates them.
 */

import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attention } from '../../../nn/attention/attention.ts';
import { MASKED } from '../../../nn/attention/attention-mask.ts';
import { embedding } from '../../../nn/embeddings.ts';
import { gatedFeedForward, linear } from '../../../nn/linear.ts';
import { sandwichModulations, sandwichResidual } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { modulatedLayerNorm, rmsNorm } from '../../../nn/norms.ts';
import { dims, floatTensor, intTensor, rows, type Tensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';

interface Ideogram4Config {
  inChannels: number;
  blocks: number;
  heads: number;
  headDim: number;
  width: number;
  mlpWidth: number;
  conditionWidth: number;
  textWidth: number;
  theta: number;
  /** Frequencies of time, rows and columns. */
  sections: readonly number[];
  epsilon: number;
}

type Ideogram4State = {
  /** Text and image. */
  hidden_states: SymbolicTensor;
  /** [B, 1 or S, conditionWidth]. */
  temb: SymbolicTensor;
  rotary_cos: SymbolicTensor;
  rotary_sin: SymbolicTensor;
  /** [B, 1, S, S], absent if all tokens are of one segment. */
  segment_bias?: SymbolicTensor;
};

const IMAGE = 2;
const TEXT = 3;
/** Of queries and keys, whatever the config says of the other norms. */
const HEAD_EPSILON = 1e-5;
const FINAL_EPSILON = 1e-6;

export const ideogram4Transformer = defineTransformer<Ideogram4Config, Ideogram4State>({
  className: 'Ideogram4Transformer2DModel',
  separateCfg: true,
  tokens: { hidden_states: 1 },
  float32Modules: ['t_embedding.**', 'adaln_proj'],

  parseConfig(config) {
    const heads = config.count('num_attention_heads', 18);
    const headDim = config.count('attention_head_dim', 256);
    return {
      inChannels: config.integer('in_channels', 128),
      blocks: config.layers('num_layers', 34),
      heads,
      headDim,
      width: heads * headDim,
      mlpWidth: config.integer('intermediate_size', 12288),
      conditionWidth: config.integer('adaln_dim', 512),
      textWidth: config.integer('llm_features_dim', 53248),
      theta: config.positive('rope_theta', 5e6),
      sections: config.counts('mrope_section', [24, 20, 20]),
      epsilon: config.positive('norm_eps', 1e-5),
    };
  },

  inputs: ({ inChannels, textWidth }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'tokens', inChannels] },
    { name: 'timestep', kind: 'float', shape: ['batch'], orShape: ['batch', 'tokens'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'tokens', textWidth] },
    { name: 'position_ids', kind: 'int', shape: ['batch', 'tokens', 3] },
    { name: 'segment_ids', kind: 'int', shape: ['batch', 'tokens'] },
    { name: 'indicator', kind: 'int', shape: ['batch', 'tokens'] },
  ],

  prepare({ timestep, position_ids, segment_ids, indicator, ...tensors }, config) {
    const [batch, tokens] = dims(indicator!, 2);
    const kinds = Array.from(indicator!.data as BigInt64Array, Number);
    const is = (kind: number) => kinds.map((value) => Number(value === kind));
    return {
      tensors: {
        ...tensors,
        time_features: timeFeatures(timestep!, config.width),
        is_text: floatTensor(is(TEXT), [batch, tokens, 1]),
        is_image: floatTensor(is(IMAGE), [batch, tokens, 1]),
        token_kinds: intTensor(is(IMAGE), [batch, tokens]),
        ...positionTables(position_ids!, config),
        ...segmentBias(segment_ids!),
      },
    };
  },

  prologue(m, inputs, { width, conditionWidth }) {
    const { is_text: isText, is_image: isImage } = inputs as Record<string, SymbolicTensor>;
    const time = m.at('t_embedding');
    const features = linear(time.at('mlp_in'), inputs.time_features!, width).silu();
    const temb = linear(m.at('adaln_proj'), linear(time.at('mlp_out'), features, width), conditionWidth).silu();
    const image = linear(m.at('input_proj'), inputs.hidden_states!.mul(isImage!), width).mul(isImage!);
    const text = rmsNorm(m.at('llm_cond_norm'), inputs.encoder_hidden_states!.mul(isText!), 1e-6);
    const kind = embedding(m.at('embed_image_indicator'), inputs.token_kinds!, { count: 2, width });
    return {
      hidden_states: image.add(linear(m.at('llm_cond_proj'), text, width).mul(isText!)).add(kind),
      temb,
      rotary_cos: inputs.rotary_cos!,
      rotary_sin: inputs.rotary_sin!,
      ...(inputs.segment_bias ? { segment_bias: inputs.segment_bias } : {}),
    };
  },

  blockLists: (config) => [
    { name: 'layers', pattern: 3, count: config.blocks, block: (m, state) => ideogramBlock(m, state, config) },
  ],

  epilogue(m, { hidden_states, temb }, { width, inChannels }) {
    const final = m.at('final_layer');
    const scale = linear(final.at('adaln_modulation'), temb.silu(), width);
    return linear(final.at('linear'), modulatedLayerNorm(hidden_states, { scale }, FINAL_EPSILON), inChannels);
  },
});

const ideogramBlock = layer((m, state: Ideogram4State, config: Ideogram4Config): Partial<Ideogram4State> => {
  const { width, heads, mlpWidth, epsilon } = config;
  const { rotary_cos: cos, rotary_sin: sin, segment_bias: bias } = state;
  const norm = (name: string) => (x: SymbolicTensor) => rmsNorm(m.at(name), x, epsilon);
  const vectors = linear(m.at('adaln_modulation'), state.temb, 4 * width).chunk(4);
  const [ofAttention, ofMlp] = sandwichModulations(vectors);
  const informed = sandwichResidual(state.hidden_states, {
    modulation: ofAttention,
    normBefore: norm('attention_norm1'),
    normAfter: norm('attention_norm2'),
    sublayer: (x) =>
      attention(m.at('attention'), x, {
        heads,
        qkNorm: { kind: 'rms_norm', epsilon: HEAD_EPSILON },
        projectionBias: false,
        outputBias: false,
        rotary: { cos, sin, interleaved: false },
        bias,
      }),
  });
  const hidden_states = sandwichResidual(informed, {
    modulation: ofMlp,
    normBefore: norm('ffn_norm1'),
    normAfter: norm('ffn_norm2'),
    sublayer: (x) =>
      gatedFeedForward(m.at('feed_forward'), x, {
        inner: mlpWidth,
        names: { gate: 'w1', value: 'w3', out: 'w2' },
        bias: false,
      }),
  });
  return { hidden_states };
});

/** Sinusoids of times, [sin | cos], [B, 1, D], or [B, S, D] where every token has its own. The angles are large, and rounded as in Diffusers. */
function timeFeatures(times: Tensor, width: number): Tensor {
  const { fround } = Math;
  const half = Math.floor(width / 2);
  const step = fround(-Math.log(1e4) / (half - 1));
  const frequencies = Array.from({ length: half }, (_, i) => fround(Math.exp(fround(i * step))));
  const values = times.float().f32;
  const features = new Float32Array(values.length * width);
  for (const [row, time] of values.entries())
    for (const [i, frequency] of frequencies.entries()) {
      const angle = fround(fround(1e4 * time) * frequency);
      features[row * width + i] = Math.sin(angle);
      features[row * width + half + i] = Math.cos(angle);
    }
  const tokens = times.shape.length === 1 ? 1 : times.dim(1);
  return floatTensor(features, [times.dim(0), tokens, width]);
}

/** Of every three frequencies one turns with time, one with rows and one with columns, as far as the sections go; the rest with time. */
function positionTables(
  ids: Tensor,
  { headDim, theta, sections }: Ideogram4Config,
): { rotary_cos: Tensor; rotary_sin: Tensor } {
  const { fround } = Math;
  const half = headDim / 2;
  const axisOf = (i: number) => (i % 3 > 0 && i < 3 * sections[i % 3]! ? i % 3 : 0);
  const frequencies = Array.from({ length: half }, (_, i) => fround(1 / fround(theta ** fround((2 * i) / headDim))));
  const [batch, tokens] = dims(ids, 3);
  const positions = rows(ids.float().reshape([-1, 3]));
  const angles = Float32Array.from(
    positions.flatMap((place) => frequencies.map((frequency, i) => fround(place[axisOf(i)]! * frequency))),
  );
  const shape = [batch, tokens, half];
  return { rotary_cos: floatTensor(angles.map(Math.cos), shape), rotary_sin: floatTensor(angles.map(Math.sin), shape) };
}

/** What hides other segments; nothing where there is one. */
function segmentBias(ids: Tensor): { segment_bias?: Tensor } {
  const [batch, tokens] = dims(ids, 2);
  const segments = rows(ids);
  if (segments.every((row) => row.every((segment) => segment === row[0]))) return {};
  const bias = new Float32Array(batch * tokens * tokens);
  let at = 0;
  for (const row of segments) for (const query of row) for (const key of row) bias[at++] = query === key ? 0 : MASKED;
  return { segment_bias: floatTensor(bias, [batch, 1, tokens, tokens]) };
}
