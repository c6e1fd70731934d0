/**
 * CogVideoX (Zhipu AI, 2024, arXiv 2408.06072), Diffusers' `CogVideoXTransformer3DModel`: text and video as one sequence through the
 * same weights; only their modulation differs ("expert adaptive LayerNorm").
 *
 * Notation: D = heads · head dim is the width; tokens are [text, video], and latents arrive as [B, F, C, H, W]. The 2B model has
 * fixed sincos positions, the 5B models rotary ones, which the caller computes; 5B image to video adds learned ones. Version 1.5 cuts
 * patches in time as well, and its image-to-video model is told the offset of frames (`ofs`).
 */

import { DejaDitError } from '../../../errors/errors.ts';
import { layerNormalization } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { sharedAttention } from '../../../nn/attention/attention.ts';
import { type AttentionInputs, attentionInputs, attentionTensors } from '../../../nn/attention/attention-inputs.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { type Activation, feedForward, linear } from '../../../nn/linear.ts';
import { type SublayerModulation, sublayerModulations } from '../../../nn/modulation.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { layerNorm, modulation } from '../../../nn/norms.ts';
import { framePatches, patchGrid, patchify, unpatchify } from '../../../nn/patches.ts';
import { afterUnturned } from '../../../nn/rotary.ts';
import { sincosVideoPositions } from '../../../nn/sincos-positions.ts';
import { defineTransformer } from '../../definition.ts';
import { rotaryInput } from '../../rotary-input.ts';

interface CogVideoXConfig {
  inChannels: number;
  outChannels: number;
  patchSize: number;
  /** Frames of a patch; undefined in version 1, whose patches are a convolution's. */
  patchFrames: number | undefined;
  patchBias: boolean;
  blocks: number;
  heads: number;
  headDim: number;
  width: number;
  textWidth: number;
  timeWidth: number;
  offsetWidth: number | undefined;
  /** Order of the features of time. */
  cosineFirst: boolean;
  activation: Activation;
  attentionBias: boolean;
  affineNorms: boolean;
  epsilon: number;
  rotary: boolean;
  learned: boolean;
  sample: { frames: number; height: number; width: number; textTokens: number };
  frameFactor: number;
  scales: { spatialScale: number; temporalScale: number };
}

type CogVideoXState = Partial<AttentionInputs> & {
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
};

export const cogVideoXTransformer = defineTransformer<CogVideoXConfig, CogVideoXState>({
  className: 'CogVideoXTransformer3DModel',
  separateCfg: false,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['time_embedding.**', 'ofs_embedding.**'],

  parseConfig(config) {
    config.requires('timestep_activation_fn', 'silu');
    config.requires('freq_shift', 0);
    const heads = config.count('num_attention_heads', 30);
    const headDim = config.count('attention_head_dim', 64);
    const optional = (name: string) => config.nullable(name, (field) => config.count(field));
    const inChannels = config.integer('in_channels', 16);
    const rotary = config.boolean('use_rotary_positional_embeddings', false);
    const learned = config.boolean('use_learned_positional_embeddings', false);
    if (learned && !rotary) config.requires('use_learned_positional_embeddings', false);
    return {
      inChannels,
      outChannels: config.integer('out_channels', 16),
      patchSize: config.count('patch_size', 2),
      patchFrames: optional('patch_size_t'),
      patchBias: config.boolean('patch_bias', true),
      blocks: config.layers('num_layers', 30),
      heads,
      headDim,
      width: heads * headDim,
      textWidth: config.integer('text_embed_dim', 4096),
      timeWidth: config.integer('time_embed_dim', 512),
      offsetWidth: optional('ofs_embed_dim'),
      cosineFirst: config.boolean('flip_sin_to_cos', true),
      activation: config.choice('activation_fn', ['gelu-approximate', 'gelu', 'geglu', 'swiglu'], 'gelu-approximate'),
      attentionBias: config.boolean('attention_bias', true),
      affineNorms: config.boolean('norm_elementwise_affine', true),
      epsilon: config.positive('norm_eps', 1e-5),
      rotary,
      learned,
      sample: {
        frames: config.integer('sample_frames', 49),
        height: config.count('sample_height', 60),
        width: config.count('sample_width', 90),
        textTokens: config.count('max_text_seq_length', 226),
      },
      frameFactor: config.count('temporal_compression_ratio', 4),
      scales: {
        spatialScale: config.positive('spatial_interpolation_scale', 1.875),
        temporalScale: config.positive('temporal_interpolation_scale', 1),
      },
    };
  },

  traits: (config) => {
    const { width, inChannels, outChannels, patchFrames = 1, patchSize, textWidth, rotary, headDim, sample } = config;
    return {
      width,
      inChannels,
      outChannels,
      patch: [patchFrames, patchSize, patchSize],
      textWidth,
      sampleVideo: sample,
      ...(rotary ? { rotaryWidth: headDim } : {}),
      takesOffset: config.offsetWidth !== undefined,
    };
  },

  inputs: ({ inChannels, textWidth, offsetWidth, rotary }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'frames', inChannels, 'height', 'width'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    ...(rotary ? [{ name: 'image_rotary_emb', kind: 'other', optional: true } as const] : []),
    ...(offsetWidth === undefined ? [] : [{ name: 'ofs', kind: 'float', shape: ['offsets'] } as const]),
  ],

  prepare(tensors, config, { image_rotary_emb }) {
    const [batch, frames, channels, height, width] = tensors.hidden_states!.shape as [
      number,
      number,
      number,
      number,
      number,
    ];
    const patch = [config.patchFrames ?? 1, config.patchSize, config.patchSize] as const;
    const grid = patchGrid('hidden_states', { shape: [batch, channels, frames, height, width] }, patch);
    const text = tensors.encoder_hidden_states!.dim(1);
    const rotary = image_rotary_emb
      ? attentionTensors(
          afterUnturned(
            rotaryInput(image_rotary_emb, {
              name: 'image_rotary_emb',
              tokens: grid[0] * grid[1] * grid[2],
              width: config.headDim,
            }),
            text,
          ),
        )
      : {};
    const learned = config.learned && isTrainedSize({ frames, height, width }, config);
    const fixed = !learned && (config.learned || !config.rotary);
    return {
      tensors: {
        ...tensors,
        ...rotary,
        ...(fixed ? { positions: sincosVideoPositions(grid, { width: config.width, ...config.scales }) } : {}),
      },
      statics: { grid, learned },
    };
  },

  prologue(m, inputs, config, { learned }) {
    const { width, timeWidth, offsetWidth, cosineFirst, sample } = config;
    const embed = m.at('patch_embed');
    let text = linear(embed.at('text_proj'), inputs.encoder_hidden_states!, width);
    let video = videoTokens(embed.at('proj'), inputs.hidden_states!, config);
    if (inputs.positions) video = video.add(inputs.positions);
    if (learned) {
      const table = embed.weight('pos_embedding', [1, sample.textTokens + video.dim(1), width]);
      text = text.add(table.slice(1, 0, sample.textTokens));
      video = video.add(table.slice(1, sample.textTokens));
    }
    const features = (time: SymbolicTensor, dim: number) =>
      sinusoidalEmbedding(time, { dim, flipSinToCos: cosineFirst });
    const time = timestepEmbedding(m.at('time_embedding'), features(inputs.timestep!, width), timeWidth);
    return {
      hidden_states: video,
      encoder_hidden_states: text,
      temb:
        offsetWidth === undefined
          ? time
          : time.add(timestepEmbedding(m.at('ofs_embedding'), features(inputs.ofs!, offsetWidth), offsetWidth)),
      ...(inputs.rotary_cos ? attentionInputs(inputs) : {}),
    };
  },

  /** Of learned positions, the size that they are for; of fixed ones, any. */
  smallestCalls({ patchSize, patchFrames = 1, learned, sample, frameFactor }) {
    const { frames, height, width, textTokens } = sample;
    if (!learned) return [{ sizes: { frames: patchFrames, height: patchSize, width: patchSize } }];
    return [{ sizes: { frames: (frames - 1) / frameFactor + 1, height, width, text_tokens: textTokens } }];
  },

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 0,
      count: config.blocks,
      block: (m, state) => cogVideoXBlock(m, state, config),
    },
  ],

  epilogue(m, { hidden_states, temb }, config, { grid }) {
    const { width, patchSize, patchFrames = 1, outChannels } = config;
    const [shift, scale] = modulation(m.at('norm_out'), temb, 2, { width });
    const final = norm(m.at('norm_final'), hidden_states, config);
    const normed = norm(m.at('norm_out.norm'), final, config).mul(scale.add(1)).add(shift);
    const patches = linear(m.at('proj_out'), normed, patchFrames * patchSize ** 2 * outChannels);
    const patch = [patchFrames, patchSize, patchSize];
    return unpatchify(patches, { grid: grid as number[], patch, channels: 'first' }).transpose([0, 2, 1, 3, 4]);
  },
});

const cogVideoXBlock = layer((m, state: CogVideoXState, config: CogVideoXConfig): Partial<CogVideoXState> => {
  const { heads, width, activation, attentionBias } = config;
  const { rotary_cos: cos, rotary_sin: sin } = state;
  let { hidden_states: video, encoder_hidden_states: text } = state;
  /** One sublayer: modulated norms of both streams, the sublayer over both, and both of its results through gates. */
  const add = (name: string, sublayer: (normed: { image: SymbolicTensor; text: SymbolicTensor }) => typeof normed) => {
    const [ofVideo, ofText] = sublayerModulations(modulation(m.at(name), state.temb, 6, { width }), 2);
    const modulated = (x: SymbolicTensor, { scale, shift }: SublayerModulation) =>
      norm(m.at(`${name}.norm`), x, config)
        .mul(scale.add(1))
        .add(shift);
    const normed = { image: modulated(video, ofVideo), text: modulated(text, ofText) };
    const out = sublayer(normed);
    video = video.add(ofVideo.gate.mul(out.image));
    text = text.add(ofText.gate.mul(out.text));
  };
  add('norm1', (normed) =>
    sharedAttention(m.at('attn1'), normed, {
      heads,
      qkNorm: { kind: 'layer_norm', epsilon: 1e-6 },
      projectionBias: attentionBias,
      rotary: cos && sin && { cos, sin },
    }),
  );
  add('norm2', (normed) => {
    const mlp = (x: SymbolicTensor) => feedForward(m.at('ff'), x, { activation, inner: 4 * width });
    return { image: mlp(normed.image), text: mlp(normed.text) };
  });
  return { hidden_states: video, encoder_hidden_states: text };
});

function norm(m: Module, x: SymbolicTensor, { affineNorms, epsilon }: CogVideoXConfig): SymbolicTensor {
  return affineNorms ? layerNorm(m, x, epsilon) : layerNormalization(x, { epsilon });
}

/** A video [B, F, C, H, W] as tokens [B, S, D]. */
const videoTokens = layer(
  (m, x: SymbolicTensor, { width, patchSize, patchFrames, patchBias }: CogVideoXConfig): SymbolicTensor => {
    if (patchFrames === undefined) {
      return framePatches(m, x, { patch: [patchSize, patchSize], width, bias: patchBias });
    }
    return linear(m, patchify(x.transpose([0, 2, 1, 3, 4]), [patchFrames, patchSize, patchSize], 'first'), width);
  },
);

/** Whether a video has the size that learned positions are for; with other frames, as in Diffusers, they give way to fixed ones. */
function isTrainedSize(
  { frames, height, width }: { frames: number; height: number; width: number },
  { sample, frameFactor }: CogVideoXConfig,
): boolean {
  if (height !== sample.height || width !== sample.width) {
    throw new DejaDitError(
      'UNSUPPORTED',
      `latents of ${height} × ${width}, but this model has learned positions for ${sample.height} × ${sample.width} alone`,
      { path: 'hidden_states' },
    );
  }
  return (frames - 1) * frameFactor + 1 === sample.frames;
}
