/**
 * MiniMax-H3 (MiniMax, 2026), Diffusers' `MiniMaxH3Transformer3DModel`: video, sound and text as one packed sequence, of which each row has
 * a time of its own.
 *
 * Notation: D = `hidden_size` is the width, S the rows of the sequence, which every sample of a batch has in the same order; the caller
 * says where the rows of each kind stand. `timestep` holds the T different times, from 0 to 1; rows name theirs by its index. A block
 * has a modulation for every pair of time and kind. The text is refined by blocks that see nothing else.
 */

import { DejaDitError } from '../../../errors/errors.ts';
import { concat, gather } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attention } from '../../../nn/attention/attention.ts';
import { sinusoidalEmbedding } from '../../../nn/embeddings.ts';
import { feedForward, linear } from '../../../nn/linear.ts';
import { sublayerModulations } from '../../../nn/modulation.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { rmsNorm } from '../../../nn/norms.ts';
import { type Rotary, rotaryTables } from '../../../nn/rotary.ts';
import { intTensor, rows, type Tensor } from '../../../tensor/tensor.ts';
import { joinAudioVideo, splitAudioVideo } from '../../audio-video.ts';
import { defineTransformer } from '../../definition.ts';

interface MiniMaxH3Config {
  /** Values of a row of video. */
  videoWidth: number;
  audioWidth: number;
  textWidth: number;
  width: number;
  heads: number;
  inner: number;
  blocks: number;
  refinerBlocks: number;
  mlpWidth: number;
  timeFeatures: number;
  timeInner: number;
  timeWidth: number;
  frequencies: number;
  theta: number;
  epsilon: number;
  headEpsilon: number;
  finalEpsilon: number;
}

type MiniMaxH3State = {
  hidden_states: SymbolicTensor;
  /** [T, timeWidth]. */
  temb: SymbolicTensor;
  /** [S]: of every row its time, and its pair of time and kind. */
  time_rows: SymbolicTensor;
  modulation_rows: SymbolicTensor;
  video_rows: SymbolicTensor;
  audio_rows: SymbolicTensor;
  rotary_cos: SymbolicTensor;
  rotary_sin: SymbolicTensor;
};

/** Video, text, sound. */
const KINDS = 3;

export const miniMaxH3Transformer = defineTransformer<MiniMaxH3Config, MiniMaxH3State>({
  className: 'MiniMaxH3Transformer3DModel',
  separateCfg: true,
  tokens: { hidden_states: 1 },
  float32Modules: ['proj_in', 'audio_proj_in', 'time_embedder.**', 'proj_out', 'audio_proj_out'],

  parseConfig(config) {
    const heads = config.count('num_attention_heads', 56);
    const patch = config.counts('patch_size', [1, 2, 2]);
    return {
      videoWidth: patch.reduce((product, size) => product * size, config.integer('in_channels', 24)),
      audioWidth: config.integer('audio_in_channels', 32),
      textWidth: config.integer('text_dim', 5120),
      width: config.integer('hidden_size', 5376),
      heads,
      inner: heads * config.count('attention_head_dim', 128),
      blocks: config.layers('num_layers', 50),
      refinerBlocks: config.layers('num_refiner_layers', 2),
      mlpWidth: config.integer('ffn_dim', 14336),
      timeFeatures: config.count('freq_dim', 256),
      timeInner: config.integer('time_embed_hidden_dim', 5376),
      timeWidth: config.integer('time_embed_dim', 2688),
      frequencies: config.count('rope_freq_dim', 16),
      theta: config.positive('rope_theta', 10000),
      epsilon: config.positive('norm_eps', 1e-5),
      headEpsilon: config.positive('qk_norm_eps', 1e-5),
      finalEpsilon: config.positive('final_norm_eps', 1e-5),
    };
  },

  inputs: ({ videoWidth, audioWidth, textWidth }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'video_tokens', videoWidth] },
    { name: 'audio_hidden_states', kind: 'float', shape: ['batch', 'audio_tokens', audioWidth] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'timestep', kind: 'float', shape: ['times'] },
    { name: 'timestep_indices', kind: 'int', shape: ['rows'] },
    { name: 'token_tags', kind: 'int', shape: ['rows'] },
    { name: 'position_ids', kind: 'float', shape: ['rows', 3] },
    { name: 'video_indices', kind: 'int', shape: ['video_tokens'] },
    { name: 'audio_indices', kind: 'int', shape: ['audio_tokens'] },
    { name: 'text_indices', kind: 'int', shape: ['text_tokens'] },
  ],

  prepare({ timestep_indices, token_tags, position_ids, ...rest }, { frequencies, theta }) {
    const { video_indices, audio_indices, text_indices, ...tensors } = rest;
    const times = indices('timestep_indices', timestep_indices!, tensors.timestep!.dim(0));
    const tags = indices('token_tags', token_tags!, KINDS);
    const [video, audio, text] = [video_indices!, audio_indices!, text_indices!].map((tensor) => numbers(tensor));
    const axis = 2 * frequencies;
    const rotary = rotaryTables(rows(position_ids!), { axesDim: [axis, axis, axis], theta, precision: 'single' });
    return {
      tensors: {
        ...tensors,
        packed_rows: packedRows([...text!, ...video!, ...audio!], tags.length),
        time_rows: intTensor(times),
        modulation_rows: intTensor(times.map((time, row) => time * KINDS + tags[row]!)),
        video_rows: intTensor(video!),
        audio_rows: intTensor(audio!),
        rotary_cos: rotary.cos,
        rotary_sin: rotary.sin,
      },
    };
  },

  prologue(m, inputs, config) {
    const { width, timeFeatures, timeInner, timeWidth, refinerBlocks, finalEpsilon } = config;
    const refiner = m.at('token_refiner');
    let text = linear(m.at('context_embedder'), inputs.encoder_hidden_states!, width);
    for (let i = 0; i < refinerBlocks; i++) text = refinerBlock(refiner.at(`refiner_blocks.${i}`), text, config);
    const video = linear(m.at('proj_in'), inputs.hidden_states!, width);
    const audio = linear(m.at('audio_proj_in'), inputs.audio_hidden_states!, width);
    const time = m.at('time_embedder');
    const features = sinusoidalEmbedding(inputs.timestep!, { dim: timeFeatures });
    return {
      hidden_states: gather(
        concat([rmsNorm(refiner.at('final_norm'), text, finalEpsilon), video, audio], 1),
        inputs.packed_rows!,
        1,
      ),
      temb: linear(time.at('linear_2'), linear(time.at('linear_1'), features, timeInner).silu(), timeWidth),
      time_rows: inputs.time_rows!,
      modulation_rows: inputs.modulation_rows!,
      video_rows: inputs.video_rows!,
      audio_rows: inputs.audio_rows!,
      rotary_cos: inputs.rotary_cos!,
      rotary_sin: inputs.rotary_sin!,
    };
  },

  // A row of each kind.
  smallestCalls: () => [
    {
      sizes: { rows: 3 },
      inputs: {
        timestep_indices: intTensor([0, 0, 0]),
        token_tags: intTensor([1, 0, 2]),
        text_indices: intTensor([0]),
        video_indices: intTensor([1]),
        audio_indices: intTensor([2]),
      },
    },
  ],

  blockLists: (config) => [
    { name: 'transformer_blocks', pattern: 3, count: config.blocks, block: (m, state) => h3Block(m, state, config) },
  ],

  epilogue(m, state, { width, videoWidth, audioWidth, finalEpsilon }) {
    const out = m.at('norm_out');
    const [shift, scale] = linear(out.at('linear'), state.temb.silu(), 2 * width).chunk(2);
    const ofRows = (vectors: SymbolicTensor) => gather(vectors, state.time_rows).unsqueeze(0);
    const normed = rmsNorm(out.at('norm'), state.hidden_states, finalEpsilon)
      .mul(ofRows(scale).add(1))
      .add(ofRows(shift));
    return joinAudioVideo(
      linear(m.at('proj_out'), gather(normed, state.video_rows, 1), videoWidth),
      linear(m.at('audio_proj_out'), gather(normed, state.audio_rows, 1), audioWidth),
    );
  },

  present(sample, inputs) {
    const shapeOf = (name: string) => (inputs[name] as Tensor).shape;
    return splitAudioVideo(sample, { video: shapeOf('hidden_states'), audio: shapeOf('audio_hidden_states') });
  },
});

const refinerBlock = layer((m, x: SymbolicTensor, config: MiniMaxH3Config): SymbolicTensor => {
  const normed = (name: string, y: SymbolicTensor) => rmsNorm(m.at(name), y, config.epsilon);
  const informed = x.add(selfAttention(m, normed('norm1', x), config));
  return informed.add(mlp(m, normed('norm2', informed), config));
});

const h3Block = layer((m, state: MiniMaxH3State, config: MiniMaxH3Config): Partial<MiniMaxH3State> => {
  const { width, epsilon } = config;
  const rotary = { cos: state.rotary_cos, sin: state.rotary_sin, interleaved: false };
  const table = linear(m.at('adaln_proj.linear'), state.temb.silu(), 6 * width * KINDS).reshape([-1, 6 * width]);
  const vectors = gather(table, state.modulation_rows).unsqueeze(0).chunk(6);
  const [ofAttention, ofMlp] = sublayerModulations(vectors, 2);
  const normed = (name: string, y: SymbolicTensor, { scale, shift }: typeof ofMlp) =>
    rmsNorm(m.at(name), y, epsilon).mul(scale.add(1)).add(shift);
  const x = state.hidden_states;
  const informed = x.add(ofAttention.gate.mul(selfAttention(m, normed('norm1', x, ofAttention), config, rotary)));
  return { hidden_states: informed.add(ofMlp.gate.mul(mlp(m, normed('norm2', informed, ofMlp), config))) };
});

const selfAttention = (m: Module, x: SymbolicTensor, { heads, inner, headEpsilon }: MiniMaxH3Config, rotary?: Rotary) =>
  attention(m.at('attn'), x, {
    heads,
    inner,
    qkNorm: { kind: 'rms_norm', epsilon: headEpsilon },
    projectionBias: false,
    outputBias: false,
    rotary,
  });

const mlp = (m: Module, x: SymbolicTensor, { mlpWidth: inner }: MiniMaxH3Config) =>
  feedForward(m.at('ff'), x, { activation: 'swiglu', inner, bias: false });

const numbers = ({ data }: Tensor): number[] => Array.from(data as BigInt64Array, Number);

/** @throws DejaDitError if one is not below `count` */
function indices(name: string, tensor: Tensor, count: number): number[] {
  const values = numbers(tensor);
  const wrong = values.find((value) => value < 0 || value >= count);
  if (wrong === undefined) return values;
  throw new DejaDitError('INVALID_ARGUMENT', `has ${wrong}, expected 0 to ${count - 1}`, { path: name });
}

/**
 * Where each row of the sequence is among the tokens of all kinds.
 * @param places of these tokens in the sequence
 * @throws DejaDitError if rows are left over, or stand for several tokens
 */
function packedRows(places: readonly number[], count: number): Tensor {
  const tokens = new Map(places.map((place, token) => [place, token]));
  const missing = Array.from({ length: count }, (_, row) => row).find((row) => !tokens.has(row));
  if (missing !== undefined || places.length !== count) {
    const problem = missing === undefined ? `${places.length} tokens for ${count} rows` : `row ${missing} has no token`;
    throw new DejaDitError('INVALID_ARGUMENT', `${problem}; text, video and audio must share the rows out`, {
      path: 'video_indices',
    });
  }
  return intTensor(Array.from({ length: count }, (_, row) => tokens.get(row)!));
}
