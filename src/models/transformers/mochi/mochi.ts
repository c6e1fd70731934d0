/**
 * Mochi 1 (Genmo, 2024), Diffusers' `MochiTransformer3DModel`: an asymmetric MM-DiT whose text stream is half as wide as its video
 * stream.
 *
 * Notation: D = heads · head dim is the video's width, E the text's; tokens are [video, text]. Norms are RMSNorms without weights
 * before and after each sublayer; scales and gates, the latter through tanh, come from the time plus the text pooled by attention. The
 * frequencies of rotary positions are learned, for every head its own. Padding neither is seen nor sees.
 */

import { DejaDitError } from '../../../errors/errors.ts';
import { concat, rmsNormalization } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attend, jointAttention } from '../../../nn/attention/attention.ts';
import { type AttentionInputs, attentionInputs, attentionOptions } from '../../../nn/attention/attention-inputs.ts';
import { keyMask, maskRows, tokenMask } from '../../../nn/attention/attention-mask.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { type Activation, feedForward, linear } from '../../../nn/linear.ts';
import { type SandwichModulation, sandwichModulations, sandwichResidual } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { adaLayerNormContinuous, modulation, perToken } from '../../../nn/norms.ts';
import { framePatches, patchGrid, unpatchify } from '../../../nn/patches.ts';
import { gridPositions } from '../../../nn/rotary.ts';
import { floatTensor } from '../../../tensor/tensor.ts';
import { defineTransformer, type State } from '../../definition.ts';

interface MochiConfig {
  inChannels: number;
  outChannels: number;
  patchSize: number;
  blocks: number;
  heads: number;
  headDim: number;
  width: number;
  /** E. */
  textStreamWidth: number;
  textWidth: number;
  timeFeatures: number;
  activation: Activation;
}

type MochiState = AttentionInputs & {
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
};

const epsilon = 1e-6;
/** Of the attention that pools the text. */
const POOL_HEADS = 8;
/** Tokens of a frame that positions are scaled to. */
const BASE_AREA = 192 * 192;

export const mochiTransformer = defineTransformer<MochiConfig, MochiState>({
  className: 'MochiTransformer3DModel',
  separateCfg: false,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['time_embed.**'],

  parseConfig(config) {
    config.requires('qk_norm', 'rms_norm');
    const heads = config.count('num_attention_heads', 24);
    const headDim = config.count('attention_head_dim', 128);
    const inChannels = config.integer('in_channels', 12);
    return {
      inChannels,
      outChannels: config.outChannels(inChannels),
      patchSize: config.count('patch_size', 2),
      blocks: config.layers('num_layers', 48),
      heads,
      headDim,
      width: heads * headDim,
      textStreamWidth: config.integer('pooled_projection_dim', 1536),
      textWidth: config.integer('text_embed_dim', 4096),
      timeFeatures: config.count('time_embed_dim', 256),
      activation: config.choice('activation_fn', ['swiglu', 'geglu', 'gelu', 'gelu-approximate'], 'swiglu'),
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
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'frames', 'height', 'width'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'encoder_attention_mask', kind: 'bool', shape: ['batch', 'text_tokens'] },
  ],

  prepare({ encoder_attention_mask, ...tensors }, { patchSize }) {
    const grid = patchGrid('hidden_states', tensors.hidden_states!, [1, patchSize, patchSize]);
    const kept = maskRows(encoder_attention_mask!);
    const gap = kept.findIndex((row) => row.some((keep, token) => keep && token > 0 && !row[token - 1]));
    if (gap >= 0) {
      throw new DejaDitError('UNSUPPORTED', `sample ${gap} keeps a token after padding; only padding at the end is`, {
        path: 'encoder_attention_mask',
      });
    }
    const cells = gridPositions(grid);
    const visible = kept.map((row) => [...cells.map(() => true), ...row]);
    const { keys, bias, queries } = tokenMask(visible);
    const pool = keyMask(kept.map((row) => [true, ...row]));
    const shares = kept.flatMap((row) => row.map((keep) => (keep ? 1 / row.filter(Boolean).length : 0)));
    return {
      tensors: {
        ...tensors,
        positions: floatTensor(
          [...cells.flatMap((cell) => scaled(cell, grid)), ...kept[0]!.flatMap(() => [0, 0, 0])],
          [cells.length + kept[0]!.length, 3],
        ),
        text_weights: floatTensor(shares, [kept.length, 1, kept[0]!.length]),
        ...(pool.keys ? { pool_keys: pool.keys } : {}),
        ...(pool.bias ? { pool_bias: pool.bias } : {}),
        ...(keys ? { mask_keys: keys } : {}),
        ...(bias ? { mask_bias: bias } : {}),
        ...(queries ? { mask_queries: queries } : {}),
      },
      statics: { grid },
    };
  },

  prologue(m, inputs, { width, heads, headDim, patchSize, textStreamWidth, timeFeatures }) {
    const frames = inputs.hidden_states!.transpose([0, 2, 1, 3, 4]);
    const embed = m.at('time_embed');
    const time = sinusoidalEmbedding(inputs.timestep!, { dim: timeFeatures });
    const frequencies = m.weight('pos_frequencies', [3, heads, headDim / 2]).reshape([3, width / 2]);
    const angles = inputs.positions!.matmul(frequencies).unsqueeze(0);
    return {
      hidden_states: framePatches(m.at('patch_embed.proj'), frames, { patch: [patchSize, patchSize], width }),
      encoder_hidden_states: linear(embed.at('caption_proj'), inputs.encoder_hidden_states!, textStreamWidth),
      temb: timestepEmbedding(embed.at('timestep_embedder'), time, width).add(
        pooledText(embed.at('pooler'), inputs, width),
      ),
      ...attentionInputs({ ...inputs, rotary_cos: angles.cos(), rotary_sin: angles.sin() }),
    };
  },

  smallestCalls: ({ patchSize }) => [{ sizes: { height: patchSize, width: patchSize } }],

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 0,
      count: config.blocks,
      block: (m, state, { index }) => mochiBlock(m, state, { last: index === config.blocks - 1, config }),
    },
  ],

  epilogue(m, { hidden_states, temb }, { patchSize, outChannels }, { grid }) {
    const normed = adaLayerNormContinuous(m.at('norm_out'), hidden_states, temb, { epsilon });
    const patches = linear(m.at('proj_out'), normed, patchSize ** 2 * outChannels);
    return unpatchify(patches, { grid: grid as number[], patch: [1, patchSize, patchSize] });
  },
});

/** Frame, row and column; rows and columns are counted from the centre, as if every frame had `BASE_AREA` tokens. */
function scaled([frame, row, column]: readonly number[], [, rows, columns]: readonly number[]): number[] {
  const scale = Math.sqrt(BASE_AREA / (rows! * columns!));
  const centred = (index: number, size: number) => (index + 0.5 - size / 2) * scale;
  return [frame!, centred(row!, rows!), centred(column!, columns!)];
}

/** Attention of the mean of text [B, T, C] to itself and all kept tokens: [B, D]. */
const pooledText = layer((m, inputs: State, width: number): SymbolicTensor => {
  const text = inputs.encoder_hidden_states!;
  const mean = inputs.text_weights!.matmul(text);
  const [key, value] = linear(m.at('to_kv'), concat([mean, text], 1), 2 * text.dim(-1)).chunk(2);
  const pooled = attend({
    query: linear(m.at('to_q'), mean, text.dim(-1)),
    key,
    value,
    heads: POOL_HEADS,
    mask: { keys: inputs.pool_keys, bias: inputs.pool_bias },
  });
  return linear(m.at('to_out'), pooled.squeeze(1), width);
});

const rms = (x: SymbolicTensor) => rmsNormalization(x, { epsilon });

const mochiBlock = layer(
  (m, state: MochiState, { last, config }: { last: boolean; config: MochiConfig }): Partial<MochiState> => {
    const { heads, width, textStreamWidth, activation } = config;
    const { hidden_states: video, encoder_hidden_states: text, temb } = state;
    const { rotary, mask } = attentionOptions(state);
    const modulations = (name: string, size: number) =>
      sandwichModulations(modulation(m.at(name), temb, 4, { width: size })) as [SandwichModulation, SandwichModulation];

    const [ofAttention, ofMlp] = modulations('norm1', width);
    const ofText = last ? undefined : modulations('norm1_context', textStreamWidth);
    const textScale = ofText
      ? ofText[0].scale
      : perToken(linear(m.at('norm1_context.linear_1'), temb.silu(), textStreamWidth));
    const attended = jointAttention(m.at('attn1'), {
      image: rms(video).mul(ofAttention.scale.add(1)),
      text: rms(text).mul(textScale.add(1)),
      heads,
      qkNorm: { kind: 'rms_norm', epsilon: 1e-5 },
      first: 'image',
      projectionBias: false,
      rotary: { ...rotary, acrossHeads: true },
      mask,
      textOutput: !last,
    });
    const finish = (x: SymbolicTensor, out: SymbolicTensor, name: string, [first, second]: (typeof ofAttention)[]) =>
      sandwichResidual(x.add(first!.gate.tanh().mul(rms(out))), {
        modulation: second!,
        normBefore: rms,
        normAfter: rms,
        sublayer: (normed) =>
          feedForward(m.at(name), normed, { activation, inner: Math.floor((8 * x.dim(-1)) / 3), bias: false }),
      });
    return {
      hidden_states: finish(video, attended.image, 'ff', [ofAttention, ofMlp]),
      ...(ofText ? { encoder_hidden_states: finish(text, attended.text!, 'ff_context', ofText) } : {}),
    };
  },
);
