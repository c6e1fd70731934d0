/**
 * LTX-2 (Lightricks, 2026, arXiv 2601.03233), Diffusers' `LTX2VideoTransformer3DModel`: video and the sound that belongs to it, two streams
 * of different width, each with a text of its own.
 *
 * Notation: n is 1, or the tokens of a stream where each has its own time. Norms in front of sublayers are RMSNorms, by default without
 * weights. Positions are seconds and pixels, on a scale that the model was trained with (`positions.ts`); the block is in `blocks.ts`.
 * What is left out is Diffusers' spatio-temporal guidance, which skips the attention of some blocks.
 */

import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { MASKED, trimText } from '../../../nn/attention/attention-mask.ts';
import { sinusoidalEmbedding, textProjection, timestepEmbedding } from '../../../nn/embeddings.ts';
import { type Activation, linear } from '../../../nn/linear.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { modulatedLayerNorm } from '../../../nn/norms.ts';
import { floatTensor, type Tensor } from '../../../tensor/tensor.ts';
import { joinAudioVideo, splitAudioVideo } from '../../audio-video.ts';
import type { ConfigReader } from '../../config-reader.ts';
import { defineTransformer, type State } from '../../definition.ts';
import { type Ltx2BlockConfig, type Ltx2State, type Ltx2Stream, ltx2Block } from './blocks.ts';
import { audioPlaces, givenPlaces, type PositionConfig, placeTables, videoPlaces } from './positions.ts';

interface Ltx2Config extends Ltx2BlockConfig, PositionConfig {
  inChannels: number;
  outChannels: number;
  audioInChannels: number;
  audioOutChannels: number;
  blocks: number;
  /** Of the texts, where the model projects them. */
  captionWidth: number | undefined;
  /** Whether time modulates the texts, where it modulates anything about them. */
  promptTimes: boolean;
  keyframes: boolean;
  /** What counts as 1 along frames, rows and columns; along the seconds of sound; and of both where they meet. */
  largest: readonly number[];
  largestAudio: number;
  largestAcross: number;
  acrossWidth: number;
  theta: number;
  double: boolean;
  /** Of the time of gates across streams. */
  gateTimeScale: number;
}

export const ltx2Transformer = defineTransformer<Ltx2Config, Ltx2State>({
  className: 'LTX2VideoTransformer3DModel',
  separateCfg: false,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: [
    'time_embed.**',
    'audio_time_embed.**',
    'prompt_adaln.**',
    'audio_prompt_adaln.**',
    'av_cross_attn_video_scale_shift.**',
    'av_cross_attn_audio_scale_shift.**',
    'av_cross_attn_video_a2v_gate.**',
    'av_cross_attn_audio_v2a_gate.**',
  ],

  parseConfig(config) {
    config.requires('qk_norm', 'rms_norm_across_heads');
    const inChannels = config.integer('in_channels', 128);
    const audioInChannels = config.integer('audio_in_channels', 128);
    const patch = config.count('patch_size', 1);
    const [frames, audioSeconds] = [
      config.positive('pos_embed_max_pos', 20),
      config.positive('audio_pos_embed_max_pos', 20),
    ];
    return {
      video: streamOf(config, ''),
      audio: streamOf(config, 'audio_'),
      inChannels,
      outChannels: config.outChannels(inChannels, 128),
      audioInChannels,
      audioOutChannels: config.outChannels(audioInChannels, 128, 'audio_out_channels'),
      blocks: config.layers('num_layers', 48),
      captionWidth: config.boolean('use_prompt_embeddings', true)
        ? config.integer('caption_channels', 3840)
        : undefined,
      promptTimes: config.boolean('use_prompt_adaln_single', true),
      keyframes: config.boolean('use_keyframes_abs_pos_embedding', false),
      activation: config.choice<Activation>(
        'activation_fn',
        ['gelu-approximate', 'gelu', 'geglu', 'swiglu'],
        'gelu-approximate',
      ),
      attentionBias: config.boolean('attention_bias', true),
      attentionOutBias: config.boolean('attention_out_bias', true),
      affineNorms: config.boolean('norm_elementwise_affine', false),
      interleaved: config.choice('rope_type', ['interleaved', 'split'], 'interleaved') === 'interleaved',
      epsilon: config.positive('norm_eps', 1e-6),
      patch: [config.count('patch_size_t', 1), patch, patch],
      scale: config.positives('vae_scale_factors', [8, 32, 32]),
      audioScale: config.positive('audio_scale_factor', 4),
      stepSeconds: config.positive('audio_hop_length', 160) / config.positive('audio_sampling_rate', 16000),
      audioPatch: config.count('audio_patch_size_t', 1),
      causalOffset: config.integer('causal_offset', 1, { min: 0 }),
      largest: [frames, config.positive('base_height', 2048), config.positive('base_width', 2048)],
      largestAudio: audioSeconds,
      largestAcross: Math.max(frames, audioSeconds),
      acrossWidth: config.integer('audio_cross_attention_dim', 2048),
      theta: config.positive('rope_theta', 10000),
      double: config.boolean('rope_double_precision', true),
      gateTimeScale:
        config.positive('cross_attn_timestep_scale_multiplier', 1000) /
        config.positive('timestep_scale_multiplier', 1000),
    };
  },

  traits: ({ video, inChannels, outChannels, patch, captionWidth }) => ({
    width: video.width,
    inChannels,
    outChannels,
    patch,
    textWidth: captionWidth ?? video.textWidth,
  }),

  inputs: ({ video, audio, inChannels, audioInChannels, captionWidth, keyframes, promptTimes }) => {
    const modulatesText = (video.textModulation || audio.textModulation) && promptTimes;
    return [
      { name: 'hidden_states', kind: 'float', shape: ['batch', 'tokens', inChannels] },
      { name: 'audio_hidden_states', kind: 'float', shape: ['batch', 'audio_tokens', audioInChannels] },
      {
        name: 'encoder_hidden_states',
        kind: 'float',
        shape: ['batch', 'text_tokens', captionWidth ?? video.textWidth],
      },
      {
        name: 'audio_encoder_hidden_states',
        kind: 'float',
        shape: ['batch', 'audio_text_tokens', captionWidth ?? audio.textWidth],
      },
      { name: 'timestep', kind: 'float', shape: ['batch'], orShape: ['batch', 'times'] },
      { name: 'audio_timestep', kind: 'float', shape: ['batch'], orShape: ['batch', 'audio_times'], optional: true },
      { name: 'sigma', kind: 'float', shape: ['batch'], optional: !modulatesText },
      { name: 'audio_sigma', kind: 'float', shape: ['batch'], optional: true },
      { name: 'encoder_attention_mask', kind: 'float', shape: ['batch', 'text_tokens'], optional: true },
      { name: 'audio_encoder_attention_mask', kind: 'float', shape: ['batch', 'audio_text_tokens'], optional: true },
      { name: 'num_frames', kind: 'other', optional: true },
      { name: 'height', kind: 'other', optional: true },
      { name: 'width', kind: 'other', optional: true },
      { name: 'fps', kind: 'other', optional: true },
      { name: 'audio_num_frames', kind: 'other', optional: true },
      { name: 'video_coords', kind: 'float', shape: ['batch', 3, 'tokens', 2], optional: true },
      { name: 'audio_coords', kind: 'float', shape: ['batch', 1, 'audio_tokens', 2], optional: true },
      { name: 'isolate_modalities', kind: 'other', optional: true },
      { name: 'use_cross_timestep', kind: 'other', optional: true },
      { name: 'video_self_attention_mask', kind: 'float', shape: ['batch', 'tokens', 'tokens'], optional: true },
      ...(keyframes
        ? [{ name: 'video_keyframes_mask', kind: 'float', shape: ['batch', 'tokens', 1], optional: true } as const]
        : []),
    ];
  },

  prepare(tensors, config, inputs) {
    const { hidden_states, audio_hidden_states, timestep, video_coords, audio_coords } = tensors;
    const video = video_coords ? givenPlaces(video_coords) : videoPlaces(inputs, hidden_states!.dim(1), config);
    const audio = audio_coords ? givenPlaces(audio_coords) : audioPlaces(audio_hidden_states!.dim(1), config);
    const { acrossWidth, largestAcross, theta, double } = config;
    const tables = (
      name: string,
      places: typeof video,
      options: { width: number; heads: number; largest: readonly number[] },
    ) => {
      const { cos, sin } = placeTables(places, { ...options, theta, double });
      return { [`${name}cos`]: cos, [`${name}sin`]: sin };
    };
    const acrossOf = ({ heads }: Ltx2Stream) => ({ width: acrossWidth, heads, largest: [largestAcross] });
    const text = trimText(tensors.encoder_hidden_states!, tensors.encoder_attention_mask);
    const audioText = trimText(tensors.audio_encoder_hidden_states!, tensors.audio_encoder_attention_mask);
    const audioTime = tensors.audio_timestep ?? timestep!;
    const sigma = tensors.sigma;
    const audioSigma = tensors.audio_sigma ?? sigma;
    const crossTimes = inputs.use_cross_timestep === true;
    return {
      tensors: {
        hidden_states: hidden_states!,
        audio_hidden_states: audio_hidden_states!,
        text: text.text,
        ...(text.bias ? { text_bias: text.bias } : {}),
        audio_text: audioText.text,
        ...(audioText.bias ? { audio_text_bias: audioText.bias } : {}),
        time: timestep!,
        audio_time: audioTime,
        across_time: (crossTimes ? audioSigma : undefined) ?? timestep!,
        audio_across_time: (crossTimes ? sigma : undefined) ?? audioTime,
        ...(sigma ? { sigma, audio_sigma: audioSigma! } : {}),
        ...selfBias(tensors.video_self_attention_mask),
        ...(tensors.video_keyframes_mask ? { keyframes: aboveZero(tensors.video_keyframes_mask) } : {}),
        ...tables('', video, { width: config.video.inner, heads: config.video.heads, largest: config.largest }),
        ...tables('audio_', audio, {
          width: config.audio.inner,
          heads: config.audio.heads,
          largest: [config.largestAudio],
        }),
        ...tables('across_', video.slice(0, 1), acrossOf(config.video)),
        ...tables('audio_across_', audio.slice(0, 1), acrossOf(config.audio)),
      },
      statics: { isolated: inputs.isolate_modalities === true },
    };
  },

  prologue(m, inputs, config) {
    const { video, audio, keyframes } = config;
    let hidden_states = linear(m.at('proj_in'), inputs.hidden_states!, video.width);
    if (keyframes && inputs.keyframes)
      hidden_states = hidden_states.add(
        inputs.keyframes.mul(m.weight('keyframes_abs_pos_embedding', [1, video.width])),
      );
    return {
      hidden_states,
      encoder_hidden_states: linear(m.at('audio_proj_in'), inputs.audio_hidden_states!, audio.width),
      ...conditions(m, inputs, { stream: video, across: 'video', gate: 'video_a2v', config }),
      ...conditions(m, inputs, { stream: audio, across: 'audio', gate: 'audio_v2a', config }),
      ...passed(inputs),
    };
  },

  smallestCalls: ({ keyframes, patch: [frames, edge] }, ones) => [
    {
      inputs: {
        num_frames: frames,
        height: edge,
        width: edge,
        sigma: ones([1]),
        ...(keyframes ? { video_keyframes_mask: ones([1, 1, 1]) } : {}),
      },
    },
  ],

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 0,
      count: config.blocks,
      block: (m, state, { statics }) => ltx2Block(m, state, { config, isolated: statics['isolated'] === true }),
    },
  ],

  epilogue(m, state, { outChannels, audioOutChannels }) {
    const out = (prefix: '' | 'audio_', x: SymbolicTensor, features: number) => {
      const table = m.weight(`${prefix}scale_shift_table`, [2, x.dim(-1)]);
      const [shift, scale] = [0, 1].map((row) => state[`${prefix}embedded_time`]!.add(table.slice(0, row, row + 1)));
      return linear(m.at(`${prefix}proj_out`), modulatedLayerNorm(x, { shift: shift!, scale: scale! }), features);
    };
    return joinAudioVideo(
      out('', state.hidden_states, outChannels),
      out('audio_', state.encoder_hidden_states, audioOutChannels),
    );
  },

  present(sample, inputs, { outChannels, audioOutChannels }) {
    const shapeOf = (name: string, width: number) => [...(inputs[name] as Tensor).shape.slice(0, 2), width];
    return splitAudioVideo(sample, {
      video: shapeOf('hidden_states', outChannels),
      audio: shapeOf('audio_hidden_states', audioOutChannels),
    });
  },
});

function streamOf(config: ConfigReader, prefix: '' | 'audio_'): Ltx2Stream {
  const isVideo = prefix === '';
  const heads = config.count(`${prefix}num_attention_heads`, 32);
  const width = heads * config.count(`${prefix}attention_head_dim`, isVideo ? 128 : 64);
  return {
    prefix,
    width,
    heads,
    inner: width,
    textWidth: config.integer(`${prefix}cross_attention_dim`, isVideo ? 4096 : 2048),
    gated: config.boolean(`${prefix}gated_attn`, false),
    textModulation: config.boolean(`${prefix}cross_attn_mod`, false),
    mlpBias: config.boolean(`${prefix}ff_bias`, true),
  };
}

interface Conditioning {
  stream: Ltx2Stream;
  /** Names of what modulates the stream where it meets the other one. */
  across: 'video' | 'audio';
  gate: 'video_a2v' | 'audio_v2a';
  config: Ltx2Config;
}

/** What a stream gets from times and from its text. */
function conditions(m: Module, inputs: State, { stream, across, gate, config }: Conditioning): State {
  const { prefix, width, textModulation } = stream;
  const { video, audio, captionWidth, promptTimes, gateTimeScale } = config;
  const own = (name: string) => inputs[`${prefix}${name}`]!;
  const time = timeModulation(m.at(`${prefix}time_embed`), own('time'), [width, textModulation ? 9 : 6]);
  const acrossTime = own('across_time');
  const text = own('text');
  const prompt = (video.textModulation || audio.textModulation) && promptTimes;
  const projected =
    captionWidth === undefined
      ? text
      : textProjection(m.at(`${prefix}caption_projection`), text, 'gelu-approximate', width);
  return {
    [`${prefix}text`]: projected,
    [`${prefix}temb`]: time.vectors,
    [`${prefix}embedded_time`]: time.embedded,
    [`${prefix}across`]: timeModulation(m.at(`av_cross_attn_${across}_scale_shift`), acrossTime, [width, 4]).vectors,
    [`${prefix}across_gate`]: timeModulation(m.at(`av_cross_attn_${gate}_gate`), acrossTime.mul(gateTimeScale), [
      width,
      1,
    ]).vectors,
    ...(prompt
      ? { [`${prefix}prompt`]: timeModulation(m.at(`${prefix}prompt_adaln`), own('sigma'), [width, 2]).vectors }
      : {}),
  };
}

/** Of times [B] or [B, n]: their embeddings [B, n, D], and `parts` vectors made of them [B, n, parts·D]. */
const timeModulation = layer((m, times: SymbolicTensor, [width, parts]: readonly [number, number]) => {
  const features = sinusoidalEmbedding(times.reshape([-1]), { dim: 256 });
  const embedded = timestepEmbedding(m.at('emb.timestep_embedder'), features, width);
  const byToken = (x: SymbolicTensor) => x.reshape([times.dim(0), -1, x.dim(-1)]);
  return { embedded: byToken(embedded), vectors: byToken(linear(m.at('linear'), embedded.silu(), parts * width)) };
});

/** Tables and masks, which blocks get as they are. */
function passed(inputs: State): State {
  const tables = ['', 'audio_'].flatMap((prefix) =>
    ['cos', 'sin', 'across_cos', 'across_sin', 'text_bias', 'self_bias'].map((name) => `${prefix}${name}`),
  );
  return Object.fromEntries(tables.flatMap((name) => (inputs[name] ? [[name, inputs[name]]] : [])));
}

/** What weakens the attention of video to itself, [B, 1, S, S]. */
function selfBias(mask: Tensor | undefined): { self_bias?: Tensor } {
  if (!mask) return {};
  const [batch, queries, keys] = mask.shape as [number, number, number];
  return {
    self_bias: floatTensor(
      mask.f32.map((value) => (1 - value) * MASKED),
      [batch, 1, queries, keys],
    ),
  };
}

const aboveZero = (mask: Tensor) =>
  floatTensor(
    mask.f32.map((value) => Number(value > 0)),
    mask.shape,
  );
