/**
 * Kandinsky 6 (Kandinsky Lab, 2026), Diffusers' `Kandinsky6Transformer3DModel`: Kandinsky 5's video transformer beside one for sound, whose
 * blocks look at each other.
 *
 * Notation: each stream has a width, heads, a time and a text of its own, refined by blocks of its own; `hidden_states` is the video,
 * `encoder_hidden_states` the sound, which calls may leave out. Latents of video arrive with channels last, [B, F, H, W, C], and so does
 * the result. What the block itself computes is in `fused-block.ts`.
 */

import { layerNormalization } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { keyMask, maskRows } from '../../../nn/attention/attention-mask.ts';
import { embedding, sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { linear } from '../../../nn/linear.ts';
import type { Module } from '../../../nn/module.ts';
import { modulatedLayerNorm } from '../../../nn/norms.ts';
import { patchGrid, patchify, unpatchify } from '../../../nn/patches.ts';
import { gridPositions, rotaryTables } from '../../../nn/rotary.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { joinAudioVideo, splitAudioVideo } from '../../audio-video.ts';
import type { ConfigReader } from '../../config-reader.ts';
import { defineTransformer, type State } from '../../definition.ts';
import { axisPositions, headsOf, textEmbedding } from '../kandinsky5/kandinsky-layers.ts';
import { fusedBlock, type Kandinsky6State, refinedText, type Stream } from './fused-block.ts';

interface Kandinsky6Config {
  video: Stream;
  audio: Stream;
  /** Channels of video with what a picture to start from adds. */
  channels: number;
  outChannels: number;
  audioChannels: number;
  audioOutChannels: number;
  textWidth: number;
  pooledWidth: number;
  patch: readonly [number, number, number];
  textBlocks: number;
  blocks: number;
  scale: readonly number[];
  audioScale: number;
  tokenTypes: number;
  options: { turnsAcross: boolean; crossGates: boolean; ownTimes: boolean };
}

const epsilon = 1e-5;
const theta = 10000;

export const kandinsky6Transformer = defineTransformer<Kandinsky6Config, Kandinsky6State>({
  className: 'Kandinsky6Transformer3DModel',
  separateCfg: true,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['video_time_embeddings.**', 'audio_time_embeddings.**'],

  parseConfig(config) {
    const inChannels = config.integer('in_visual_dim', 16);
    const video = streamOf(config, '', { width: 4096, timeWidth: 1024, mlpWidth: 16384, axesDim: [32, 48, 48] });
    return {
      video,
      audio: streamOf(config, '_a', video),
      channels: config.boolean('visual_cond', true) ? 2 * inChannels + 1 : inChannels,
      outChannels: config.integer('out_visual_dim', 16),
      audioChannels: config.integer('in_audio_dim', 20),
      audioOutChannels: config.integer('out_audio_dim', 20),
      textWidth: config.integer('in_text_dim', 3584),
      pooledWidth: config.integer('in_text_dim2', 768),
      patch: config.counts('patch_size', [1, 2, 2]) as [number, number, number],
      textBlocks: config.layers('num_text_blocks', 4),
      blocks: config.layers('num_visual_blocks', 60),
      scale: config.positives('scale_factor', [1, 2, 2]),
      audioScale: config.positive('audio_freqs_scaling', 1),
      tokenTypes: config.nullable('visual_token_type_num_embeddings', (name) => config.layers(name)) ?? 0,
      options: {
        turnsAcross: config.boolean('ca_rope', false),
        crossGates: config.boolean('cross_gates', false),
        ownTimes: config.boolean('fix_modulation', false),
      },
    };
  },

  traits: ({ video, channels, outChannels, patch, textWidth }) => ({
    width: video.width,
    inChannels: channels,
    outChannels,
    patch,
    textWidth,
  }),

  inputs: ({ channels, audioChannels, textWidth, pooledWidth, tokenTypes }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'frames', 'height', 'width', channels] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'pooled_projections', kind: 'float', shape: ['batch', pooledWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'audio_hidden_states', kind: 'float', shape: ['batch', 'audio_tokens', audioChannels], optional: true },
    { name: 'visual_rope_pos', kind: 'other', optional: true },
    { name: 'encoder_attention_mask', kind: 'bool', shape: ['batch', 'text_tokens'], optional: true },
    ...(tokenTypes > 0
      ? [{ name: 'visual_token_type_ids', kind: 'int', shape: ['batch', 'frames'], optional: true } as const]
      : []),
  ],

  prepare({ encoder_attention_mask, ...tensors }, config, { visual_rope_pos }) {
    const { patch, scale, audioScale, video, audio } = config;
    const [batch, frames, height, width, channels] = tensors.hidden_states!.shape as number[];
    const shape = [batch!, channels!, frames!, height!, width!];
    const grid = patchGrid('hidden_states', { shape }, patch);
    const axes = visual_rope_pos
      ? axisPositions(visual_rope_pos, grid)
      : grid.map((size) => Array.from({ length: size }, (_, i) => i));
    const positions = gridPositions(grid).map((cell) => cell.map((index, axis) => axes[axis]![index]! / scale[axis]!));
    const line = (tokens: number, factor = 1) => Array.from({ length: tokens }, (_, i) => [i * factor]);
    const turn = (name: string, places: readonly (readonly number[])[], axesDim: readonly number[]) => {
      const { cos, sin } = rotaryTables(places, { axesDim, theta, precision: 'single' });
      return { [`${name}_cos`]: cos, [`${name}_sin`]: sin };
    };
    const mask = encoder_attention_mask ? keyMask(maskRows(encoder_attention_mask)) : {};
    const text = line(tensors.encoder_hidden_states!.dim(1));
    const sound = tensors.audio_hidden_states;
    return {
      tensors: {
        ...tensors,
        ...turn('video', positions, video.axesDim),
        ...turn('video_text', text, [video.headDim]),
        ...turn('audio_text', text, [audio.headDim]),
        ...(sound ? turn('audio', line(sound.dim(1), audioScale), [audio.headDim]) : {}),
        ...(mask.keys ? { text_keys: mask.keys } : {}),
        ...(mask.bias ? { text_bias: mask.bias } : {}),
      },
      statics: { grid },
    };
  },

  prologue(m, inputs, config) {
    const { video, patch, tokenTypes } = config;
    const pixels = patchify(inputs.hidden_states!.transpose([0, 4, 1, 2, 3]), patch);
    let tokens = linear(m.at('visual_embeddings.in_layer'), pixels, video.width);
    const types = inputs.visual_token_type_ids;
    if (types) {
      const ofFrames = embedding(m.at('visual_token_type_embeddings'), types, {
        count: tokenTypes,
        width: video.width,
      });
      const [batch, frames] = [tokens.dim(0), types.dim(1)];
      tokens = tokens
        .reshape([batch, frames, -1, video.width])
        .add(ofFrames.unsqueeze(2))
        .reshape([batch, -1, video.width]);
    }
    const sound = inputs.audio_hidden_states;
    return {
      hidden_states: tokens,
      ...(sound ? { encoder_hidden_states: textEmbedding(m.at('audio_embeddings'), sound, config.audio.width) } : {}),
      ...conditions(m, 'video', inputs, config),
      ...(sound ? conditions(m, 'audio', inputs, config) : {}),
      ...passed(inputs),
    };
  },

  smallestCalls: ({ patch: [frames, height, width] }) => [{ sizes: { frames, height, width } }],

  blockLists: (config) => [
    {
      name: 'visual_transformer_blocks',
      pattern: 0,
      count: config.blocks,
      block: (m, state) => fusedBlock(m, state, config),
    },
  ],

  epilogue(m, state, { patch, outChannels, audioOutChannels }, { grid }) {
    const normed = (name: string, x: SymbolicTensor, temb: SymbolicTensor) => {
      const [shift, scale] = linear(m.at(name).at('modulation.out_layer'), temb.silu(), 2 * x.dim(-1)).chunk(2);
      return modulatedLayerNorm(x, { shift, scale }, epsilon);
    };
    const features = outChannels * patch[0] * patch[1] * patch[2];
    const patches = linear(
      m.at('out_layer.out_layer'),
      normed('out_layer', state.hidden_states, state.video_temb!),
      features,
    );
    const pixels = unpatchify(patches, { grid: grid as number[], patch, channels: 'first' }).transpose([0, 2, 3, 4, 1]);
    const sound = state.encoder_hidden_states;
    if (!sound) return pixels;
    // Normed twice, as the model was trained.
    const twice = layerNormalization(normed('audio_out_layer', sound, state.audio_temb!), { epsilon });
    return joinAudioVideo(pixels, linear(m.at('audio_out_layer.out_layer'), twice, audioOutChannels));
  },

  present(sample, { hidden_states, audio_hidden_states: sound }, { outChannels, audioOutChannels }) {
    if (!sound) return sample;
    return splitAudioVideo(sample, {
      video: [...(hidden_states as Tensor).shape.slice(0, -1), outChannels],
      audio: [...(sound as Tensor).shape.slice(0, -1), audioOutChannels],
    });
  },
});

/** A stream's sizes. @param fallback of what its own fields leave out */
function streamOf(
  config: ConfigReader,
  suffix: string,
  fallback: Pick<Stream, 'width' | 'timeWidth' | 'mlpWidth' | 'axesDim'>,
): Stream {
  const own = <Value>(name: string, read: (name: string) => Value, otherwise: Value) =>
    config.json[name + suffix] === undefined ? otherwise : (config.nullable(name + suffix, read) ?? otherwise);
  const axesDim = own('axes_dims', (name) => config.counts(name), fallback.axesDim);
  const width = own('model_dim', (name) => config.integer(name), fallback.width);
  return {
    width,
    timeWidth: own('time_dim', (name) => config.integer(name), fallback.timeWidth),
    mlpWidth: own('ff_dim', (name) => config.integer(name), fallback.mlpWidth),
    axesDim,
    headDim: axesDim.reduce((sum, dim) => sum + dim),
    heads: headsOf(config, { width, axesDim, name: `model_dim${suffix}` }),
  };
}

/** Time and refined text of a stream. */
function conditions(m: Module, kind: 'video' | 'audio', inputs: State, config: Kandinsky6Config): State {
  const stream = config[kind];
  const features = sinusoidalEmbedding(inputs.timestep!, { dim: stream.width });
  const temb = timestepEmbedding(m.at(`${kind}_time_embeddings.timestep_embedder`), features, stream.timeWidth).add(
    textEmbedding(m.at(`${kind}_pooled_text_embeddings`), inputs.pooled_projections!, stream.timeWidth),
  );
  const embedded = textEmbedding(m.at(`${kind}_text_embeddings`), inputs.encoder_hidden_states!, stream.width);
  const text = refinedText(m, embedded, { kind, temb, inputs, stream, blocks: config.textBlocks });
  return { [`${kind}_temb`]: temb, [`${kind}_text`]: text };
}

/** Tables and masks, which blocks get as they are. */
function passed(inputs: State): State {
  const names = ['video_cos', 'video_sin', 'audio_cos', 'audio_sin', 'text_keys', 'text_bias'];
  return Object.fromEntries(names.flatMap((name) => (inputs[name] ? [[name, inputs[name]]] : [])));
}
