/** LTX-2's block: video and sound, each of which sees itself, its text and the other. */
import { rmsNormalization } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attend, projectQkv, type QkNorm } from '../../../nn/attention/attention.ts';
import { keyBias } from '../../../nn/attention/attention-mask.ts';
import { type Activation, feedForward, linear } from '../../../nn/linear.ts';
import { sublayerModulations } from '../../../nn/modulation.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { rmsNorm } from '../../../nn/norms.ts';
import type { State } from '../../definition.ts';
import { turned } from './positions.ts';

/** Sizes of video or of sound. */
export interface Ltx2Stream {
  /** In front of the names of its modules. */
  prefix: '' | 'audio_';
  width: number;
  heads: number;
  inner: number;
  textWidth: number;
  /** Whether a sigmoid of the tokens gates each head. */
  gated: boolean;
  /** Whether time modulates what it asks its text. */
  textModulation: boolean;
  mlpBias: boolean;
}

export interface Ltx2BlockConfig {
  video: Ltx2Stream;
  audio: Ltx2Stream;
  activation: Activation;
  attentionBias: boolean;
  attentionOutBias: boolean;
  affineNorms: boolean;
  interleaved: boolean;
  epsilon: number;
}

/**
 * `hidden_states` is the video, `encoder_hidden_states` the sound. For each stream, under its prefix: `text`, `text_bias`, `temb` [B, n, …],
 * `across` and `across_gate` (what it does with the other stream), `prompt` (what time does to its text), `cos` and `sin`, and
 * `across_cos` and `across_sin`.
 */
export type Ltx2State = State & { hidden_states: SymbolicTensor; encoder_hidden_states: SymbolicTensor };

const qkNorm: QkNorm = { kind: 'rms_norm_across_heads', epsilon: 1e-6 };

/** @param isolated whether the streams do not see each other in this call */
export const ltx2Block = layer(
  (m, state: Ltx2State, { config, isolated }: { config: Ltx2BlockConfig; isolated: boolean }): Partial<Ltx2State> => {
    const streams = [config.video, config.audio] as const;
    const [video, audio] = streams.map((stream, i) => {
      const x = i === 0 ? state.hidden_states : state.encoder_hidden_states;
      return informed(m, x, { stream, state, config });
    }) as [Informed, Informed];
    const seen = isolated
      ? { video: video.x, audio: audio.x }
      : across(m, { video: video.x, audio: audio.x, state, config });
    const finish = (x: SymbolicTensor, { ofMlp }: Informed, { prefix, width, mlpBias: bias }: Ltx2Stream) => {
      const normed = norm(m.at(`${prefix}norm3`), x, config)
        .mul(ofMlp.scale.add(1))
        .add(ofMlp.shift);
      const mlp = feedForward(m.at(`${prefix}ff`), normed, { activation: config.activation, inner: 4 * width, bias });
      return x.add(ofMlp.gate.mul(mlp));
    };
    return {
      hidden_states: finish(seen.video, video, config.video),
      encoder_hidden_states: finish(seen.audio, audio, config.audio),
    };
  },
);

function norm(m: Module, x: SymbolicTensor, { affineNorms, epsilon }: Ltx2BlockConfig): SymbolicTensor {
  return affineNorms ? rmsNorm(m, x, epsilon) : rmsNormalization(x, { epsilon });
}

interface TableRows {
  /** Of the table. */
  parts: number;
  /** First row. Default 0. */
  from?: number;
  /** Default: all. */
  count?: number;
}

/** Rows of a learned table [parts, D] plus what time made for them, [B, n, count·D]: vectors [B, n, D]. */
function vectorsOf(
  m: Module,
  table: string,
  temb: SymbolicTensor,
  { parts, from = 0, count = parts - from }: TableRows,
) {
  const width = temb.dim(-1) / count;
  const rows = m.weight(table, [parts, width]).slice(0, from, from + count);
  return temb.add(rows.reshape([1, 1, count * width])).chunk<number>(count);
}

interface Informed {
  x: SymbolicTensor;
  ofMlp: { shift: SymbolicTensor; scale: SymbolicTensor; gate: SymbolicTensor };
}

interface Informing {
  stream: Ltx2Stream;
  state: State;
  config: Ltx2BlockConfig;
}

/** A stream that has seen itself and its text. */
function informed(m: Module, x: SymbolicTensor, { stream, state, config }: Informing): Informed {
  const { prefix, textModulation } = stream;
  const own = (name: string) => state[`${prefix}${name}`];
  const vectors = vectorsOf(m, `${prefix}scale_shift_table`, own('temb')!, { parts: textModulation ? 9 : 6 });
  const [ofAttention, ofMlp, ofText] = sublayerModulations(vectors, textModulation ? 3 : 2);
  const modulated = (name: string, y: SymbolicTensor, by: Informed['ofMlp'] | undefined) => {
    const normed = norm(m.at(`${prefix}${name}`), y, config);
    return by ? normed.mul(by.scale.add(1)).add(by.shift) : normed;
  };
  const turn = { cos: own('cos')!, sin: own('sin')!, interleaved: config.interleaved };
  const attended = attention(m.at(`${prefix}attn1`), modulated('norm1', x, ofAttention), {
    ...stream,
    config,
    turn,
    bias: own('self_bias'),
  });
  const itself = x.add(ofAttention!.gate.mul(attended));
  const answer = attention(m.at(`${prefix}attn2`), modulated('norm2', itself, ofText), {
    ...stream,
    config,
    context: modulatedText(m, { stream, state, config }),
    bias: own('text_bias') && keyBias(own('text_bias')!, itself.dim(1)),
  });
  return { x: itself.add(ofText ? ofText.gate.mul(answer) : answer), ofMlp: ofMlp! };
}

/** The text as the block sees it. */
function modulatedText(m: Module, { stream: { prefix }, state, config }: Informing): SymbolicTensor {
  const text = state[`${prefix}text`]!;
  if (!config.video.textModulation && !config.audio.textModulation) return text;
  const name = `${prefix}prompt_scale_shift_table`;
  const prompt = state[`${prefix}prompt`];
  const [shift, scale] = prompt
    ? vectorsOf(m, name, prompt, { parts: 2 })
    : m
        .weight(name, [2, text.dim(-1)])
        .unsqueeze(0)
        .chunk<number>(2, 1);
  return text.mul(scale!.add(1)).add(shift!);
}

interface Across {
  video: SymbolicTensor;
  audio: SymbolicTensor;
  state: State;
  config: Ltx2BlockConfig;
}

/** Both streams after each has seen the other, as it was before. */
function across(m: Module, { video, audio, state, config }: Across): { video: SymbolicTensor; audio: SymbolicTensor } {
  const ofStream = (prefix: string, name: string) => {
    const vectors = vectorsOf(m, name, state[`${prefix}across`]!, { parts: 5, count: 4 });
    const [gate] = vectorsOf(m, name, state[`${prefix}across_gate`]!, { parts: 5, from: 4 });
    const [toVideoScale, toVideoShift, toAudioScale, toAudioShift] = vectors;
    return {
      toVideo: { scale: toVideoScale!, shift: toVideoShift! },
      toAudio: { scale: toAudioScale!, shift: toAudioShift! },
      gate: gate!,
    };
  };
  const ofVideo = ofStream('', 'video_a2v_cross_attn_scale_shift_table');
  const ofAudio = ofStream('audio_', 'audio_a2v_cross_attn_scale_shift_table');
  const normed = {
    video: norm(m.at('audio_to_video_norm'), video, config),
    audio: norm(m.at('video_to_audio_norm'), audio, config),
  };
  const modulated = (x: SymbolicTensor, { scale, shift }: typeof ofVideo.toVideo) => x.mul(scale.add(1)).add(shift);
  const turnOf = (prefix: string) => ({
    cos: state[`${prefix}across_cos`]!,
    sin: state[`${prefix}across_sin`]!,
    interleaved: config.interleaved,
  });
  const { heads, inner } = config.audio;
  const toVideo = attention(m.at('audio_to_video_attn'), modulated(normed.video, ofVideo.toVideo), {
    heads,
    inner,
    gated: config.video.gated,
    config,
    context: modulated(normed.audio, ofAudio.toVideo),
    turn: turnOf(''),
    contextTurn: turnOf('audio_'),
  });
  const toAudio = attention(m.at('video_to_audio_attn'), modulated(normed.audio, ofAudio.toAudio), {
    heads,
    inner,
    gated: config.audio.gated,
    config,
    context: modulated(normed.video, ofVideo.toAudio),
    turn: turnOf('audio_'),
    contextTurn: turnOf(''),
  });
  return { video: video.add(ofVideo.gate.mul(toVideo)), audio: audio.add(ofAudio.gate.mul(toAudio)) };
}

interface Ltx2Attention extends Pick<Ltx2Stream, 'heads' | 'inner' | 'gated'> {
  config: Ltx2BlockConfig;
  context?: SymbolicTensor;
  turn?: Parameters<typeof turned>[1];
  /** Of the keys. Default: `turn`. */
  contextTurn?: Parameters<typeof turned>[1];
  bias?: SymbolicTensor | undefined;
}

const attention = layer((m, x: SymbolicTensor, options: Ltx2Attention): SymbolicTensor => {
  const { heads, inner, gated, config, context = x, turn, contextTurn = turn, bias } = options;
  const { query, key, value } = projectQkv(m, x, {
    heads,
    inner,
    qkNorm,
    context,
    projectionBias: config.attentionBias,
  });
  const attended = attend({
    query: turn ? turned(query, turn) : query,
    key: contextTurn ? turned(key, contextTurn) : key,
    value,
    heads,
    bias,
  });
  const out = gated ? gateHeads(attended, linear(m.at('to_gate_logits'), x, heads)) : attended;
  return linear(m.at('to_out.0'), out, x.dim(-1), { bias: config.attentionOutBias });
});

/** Every head times twice the sigmoid of its gate. */
function gateHeads(x: SymbolicTensor, logits: SymbolicTensor): SymbolicTensor {
  const heads = logits.dim(-1);
  const gates = logits.sigmoid().mul(2).unsqueeze(-1);
  return x
    .reshape([x.dim(0), x.dim(1), heads, -1])
    .mul(gates)
    .reshape(x.shape);
}
