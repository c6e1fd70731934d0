/**
 * Cosmos (NVIDIA, 2025, arXiv 2501.03575), Diffusers' `CosmosTransformer3DModel`: the world models Predict1 and Predict2, and with other
 * weights Anima's pictures.
 *
 * Notation: D = heads · head dim is the width. Latents get a channel that says which pixels are padding, and in video-to-video another
 * for given frames. Positions are rotary, with a base stretched along each axis; Predict1 adds learned ones, normalised to length
 * one, before every block. The time, of a sample or of each frame, modulates all sublayers through matrices of low rank
 * ("adaLN-LoRA"): what all blocks share plus what each makes of the time's features.
 */

import { DejaDitError } from '../../../errors/errors.ts';
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attention, type QkNorm } from '../../../nn/attention/attention.ts';
import { sinusoidalEmbedding } from '../../../nn/embeddings.ts';
import { feedForward, linear } from '../../../nn/linear.ts';
import { modulatedResidual, sublayerModulations } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { modulatedLayerNorm, perToken, rmsNorm } from '../../../nn/norms.ts';
import { patchGrid, patchify, unpatchify } from '../../../nn/patches.ts';
import { gridPositions, rotaryTables } from '../../../nn/rotary.ts';
import { dims } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import { frameTimes, resizedNearest, timePosition } from './times.ts';

interface CosmosConfig {
  inChannels: number;
  outChannels: number;
  heads: number;
  headDim: number;
  width: number;
  blocks: number;
  mlpWidth: number;
  textWidth: number;
  loraWidth: number;
  patch: readonly [number, number, number];
  maxSize: readonly number[];
  ropeScale: readonly number[];
  paddingMask: boolean;
  learnedPositions: boolean;
  /** Widths into and out of a projection of the text; without one, undefined. */
  textProjection: readonly [number, number] | undefined;
}

type CosmosState = {
  hidden_states: SymbolicTensor;
  /** Text, the same for all blocks. */
  encoder_hidden_states: SymbolicTensor;
  /** Of the time: what all blocks share, [B, 3·D], and SiLU of what each projects, [B, D]; or a row per distinct time. */
  temb: SymbolicTensor;
  time_features: SymbolicTensor;
  /** [B, tokens]: which row each token takes. */
  temb_rows?: SymbolicTensor;
  /** [1, tokens, D]. */
  positions?: SymbolicTensor;
  rotary_cos: SymbolicTensor;
  rotary_sin: SymbolicTensor;
};

const noBias = { bias: false };

export const cosmosTransformer = defineTransformer<CosmosConfig, CosmosState>({
  className: 'CosmosTransformer3DModel',
  separateCfg: true,
  tokens: { hidden_states: 1 },
  float32Modules: ['time_embed.**'],

  parseConfig(config) {
    config.requires('img_context_dim_in', null);
    const heads = config.count('num_attention_heads', 32);
    const headDim = config.count('attention_head_dim', 128);
    const width = heads * headDim;
    const positions = config.nullable('extra_pos_embed_type', (name) => config.choice(name, ['learnable']));
    return {
      inChannels: config.integer('in_channels', 16),
      outChannels: config.integer('out_channels', 16),
      heads,
      headDim,
      width,
      blocks: config.layers('num_layers', 28),
      mlpWidth: Math.floor(width * config.positive('mlp_ratio', 4)),
      textWidth: config.integer('text_embed_dim', 1024),
      loraWidth: config.integer('adaln_lora_dim', 256),
      patch: config.counts('patch_size', [1, 2, 2]) as [number, number, number],
      maxSize: config.counts('max_size', [128, 240, 240]),
      ropeScale: config.positives('rope_scale', [2, 1, 1]),
      paddingMask: config.boolean('concat_padding_mask', true),
      learnedPositions: positions === 'learnable' || config.json.extra_pos_embed_type === undefined,
      textProjection: config.boolean('use_crossattn_projection', false)
        ? [config.integer('crossattn_proj_in_channels', 1024), config.integer('encoder_hidden_states_channels', 1024)]
        : undefined,
    };
  },

  traits: ({ width, inChannels, outChannels, patch, textWidth }) => ({
    width,
    inChannels,
    outChannels,
    patch,
    textWidth,
  }),

  inputs: ({ textWidth, textProjection, paddingMask }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'channels', 'frames', 'height', 'width'] },
    { name: 'timestep', kind: 'float', shape: ['batch'], orShape: ['batch', 1, 'frames', 1, 1] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textProjection?.[0] ?? textWidth] },
    { name: 'fps', kind: 'other', optional: true },
    { name: 'condition_mask', kind: 'float', shape: ['batch', 1, 'frames', 'height', 'width'], optional: true },
    ...(paddingMask
      ? [{ name: 'padding_mask', kind: 'float', shape: [1, 1, 'mask_height', 'mask_width'] } as const]
      : []),
  ],

  prepare({ timestep, padding_mask, ...tensors }, config, { fps }) {
    const { headDim, patch, ropeScale, inChannels } = config;
    const latents = tensors.hidden_states!;
    const grid = patchGrid('hidden_states', latents, patch);
    const channels = latents.dim(1) + (tensors.condition_mask ? 1 : 0);
    if (channels !== inChannels) {
      throw new DejaDitError(
        'SHAPE_MISMATCH',
        `${channels} channels with 'condition_mask', if any; expected ${inChannels}`,
        {
          path: 'hidden_states',
        },
      );
    }
    const spatial = 2 * Math.floor(headDim / 6);
    const axesDim = [headDim - 2 * spatial, spatial, spatial];
    const positions = gridPositions(grid).map(([frame, ...others]) => [timePosition(frame!, fps), ...others]);
    const rotary = rotaryTables(positions, {
      axesDim,
      theta: axesDim.map((dim, axis) => 10000 * ropeScale[axis]! ** (dim / (dim - 2))),
      precision: 'single',
    });
    return {
      tensors: {
        ...tensors,
        ...frameTimes(timestep!, grid),
        ...(padding_mask ? { padding_mask: resizedNearest(padding_mask, latents.shape.slice(-2)) } : {}),
        rotary_cos: rotary.cos,
        rotary_sin: rotary.sin,
      },
      statics: { grid },
    };
  },

  prologue(m, inputs, config, { grid }) {
    const { width, patch, learnedPositions, textProjection } = config;
    const { hidden_states, condition_mask, padding_mask, temb_rows } = inputs;
    const [batch, , frames, height, columns] = hidden_states!.shape as [number, number, number, number, number];
    const channels = [hidden_states!, ...(condition_mask ? [condition_mask] : [])];
    if (padding_mask) channels.push(padding_mask.unsqueeze(2).expand([batch, 1, frames, height, columns]));
    const features = sinusoidalEmbedding(inputs.timestep!, { dim: width });
    const embed = m.at('time_embed');
    const hidden = linear(embed.at('t_embedder.linear_1'), features, width, noBias).silu();
    const text = inputs.encoder_hidden_states!;
    return {
      hidden_states: linear(m.at('patch_embed.proj'), patchify(concat(channels, 1), patch, 'first'), width, noBias),
      encoder_hidden_states: textProjection ? linear(m.at('crossattn_proj.0'), text, textProjection[1]).gelu() : text,
      temb: linear(embed.at('t_embedder.linear_2'), hidden, 3 * width, noBias),
      time_features: rmsNorm(embed.at('norm'), features, 1e-6).silu(),
      ...(temb_rows ? { temb_rows } : {}),
      ...(learnedPositions ? { positions: learned(m.at('learnable_pos_embed'), grid as number[], config) } : {}),
      rotary_cos: inputs.rotary_cos!,
      rotary_sin: inputs.rotary_sin!,
    };
  },

  smallestCalls: ({ inChannels, patch: [frames, height, width] }) => [
    { sizes: { channels: inChannels, frames, height, width }, inputs: { condition_mask: undefined } },
  ],

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 2,
      count: config.blocks,
      block: (m, state) => cosmosBlock(m, state, config),
    },
  ],

  epilogue(m, state, { width, patch, outChannels, loraWidth }, { grid }) {
    const [frames, height, columns] = patch;
    const own = lowRank(m.at('norm_out'), state.time_features, { rank: loraWidth, width: 2 * width });
    const [shift, scale] = own.add(state.temb.slice(-1, 0, 2 * width)).chunk(2);
    const normed = modulatedLayerNorm(state.hidden_states, {
      shift: perToken(shift, state.temb_rows),
      scale: perToken(scale, state.temb_rows),
    });
    const values = linear(m.at('proj_out'), normed, frames * height * columns * outChannels, noBias);
    // A token's values are laid out by row, column, frame, channel.
    const [batch, tokens] = dims(values, 3);
    const ordered = values.reshape([batch, tokens, height, columns, frames, outChannels]).transpose([0, 1, 4, 2, 3, 5]);
    return unpatchify(ordered.reshape(values.shape), { grid: grid as number[], patch });
  },
});

/** Self-attention, attention to the text, feed-forward; all modulated. */
const cosmosBlock = layer((m, state: CosmosState, config: CosmosConfig): Partial<CosmosState> => {
  const { heads, width, mlpWidth, loraWidth } = config;
  const attentionOptions = {
    heads,
    qkNorm: { kind: 'rms_norm', epsilon: 1e-5 } satisfies QkNorm,
    projectionBias: false,
    outputBias: false,
  };
  const modulationOf = (name: string) => {
    const vectors = lowRank(m.at(name), state.time_features, { rank: loraWidth, width: 3 * width }).add(state.temb);
    const parts = vectors.chunk(3).map((part) => perToken(part, state.temb_rows));
    return sublayerModulations(parts, 1)[0];
  };
  const rotary = { cos: state.rotary_cos, sin: state.rotary_sin, interleaved: false };
  const placed = state.positions ? state.hidden_states.add(state.positions) : state.hidden_states;
  const attended = modulatedResidual(placed, {
    modulation: modulationOf('norm1'),
    sublayer: (x) => attention(m.at('attn1'), x, { ...attentionOptions, rotary }),
  });
  const informed = modulatedResidual(attended, {
    modulation: modulationOf('norm2'),
    sublayer: (x) => attention(m.at('attn2'), x, { ...attentionOptions, context: state.encoder_hidden_states }),
  });
  const hidden_states = modulatedResidual(informed, {
    modulation: modulationOf('norm3'),
    sublayer: (x) => feedForward(m.at('ff'), x, { activation: 'gelu', inner: mlpWidth, ...noBias }),
  });
  return { hidden_states };
});

const lowRank = layer((m, x: SymbolicTensor, { rank, width }: { rank: number; width: number }): SymbolicTensor => {
  return linear(m.at('linear_2'), linear(m.at('linear_1'), x, rank, noBias), width, noBias);
});

/** The sum of an axis' tables for each token, over its root mean square length: [1, tokens, D]. */
const learned = layer((m, grid: readonly number[], { width, maxSize, patch }: CosmosConfig): SymbolicTensor => {
  const [t, h, w] = ['t', 'h', 'w'].map((axis, i) => {
    const table = m.weight(`pos_emb_${axis}`, [Math.floor(maxSize[i]! / patch[i]!), width]);
    return table.slice(0, 0, grid[i]!);
  }) as [SymbolicTensor, SymbolicTensor, SymbolicTensor];
  const [frames, rows, columns] = grid as [number, number, number];
  const sum = t
    .reshape([frames, 1, 1, width])
    .add(h.reshape([1, rows, 1, width]))
    .add(w.reshape([1, 1, columns, width]));
  const tokens = sum.reshape([1, frames * rows * columns, width]);
  return tokens.div(tokens.norm(-1).div(Math.sqrt(width)).add(1e-6));
});
