/**
 * HiDream-I1 (Vivago, 2025, arXiv 2505.22705), Diffusers' `HiDreamImageTransformer2DModel`: a mixture of experts, first in two streams,
 * then over the joined sequence.
 *
 * Notation: D = heads · head dim is the width; tokens are [image, text]. The text is [T5, Llama's last state] and, for every block
 * anew, a tail: the state of the Llama layer that belongs to the block. What a block makes of its tail is dropped. An image that is
 * not square is padded to the longest sequence the model knows; as in Diffusers, padding has keys of zero, which are seen.
 */

import { DejaDitError } from '../../../errors/errors.ts';
import { concat, pad } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attend, type Projections, projectQkv } from '../../../nn/attention/attention.ts';
import {
  type AttentionInputs,
  attentionInputs,
  attentionOptions,
  attentionTensors,
} from '../../../nn/attention/attention-inputs.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { linear } from '../../../nn/linear.ts';
import { modulatedResidual, projectModulations } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { modulatedLayerNorm } from '../../../nn/norms.ts';
import { patchGrid, patchify, unpatchify } from '../../../nn/patches.ts';
import { gridPositions, rotaryTables } from '../../../nn/rotary.ts';
import { dualStreamBlock } from '../../../nn/stream-blocks.ts';
import { floatTensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import { mixtureOfExperts } from './experts.ts';

interface HiDreamConfig {
  inChannels: number;
  outChannels: number;
  patchSize: number;
  doubleBlocks: number;
  singleBlocks: number;
  heads: number;
  width: number;
  /** Of T5 and of Llama. */
  captionWidths: readonly [number, number];
  pooledWidth: number;
  experts: number;
  chosenExperts: number;
  axesDim: readonly number[];
  maxTokens: number;
  /** For every block, the state of Llama that is its tail. */
  llamaLayers: readonly number[];
}

type HiDreamState = AttentionInputs & {
  /** The image; from the single blocks on, image and text. */
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
  /** The tails of all blocks, [blocks, B, S, D]. */
  tails: SymbolicTensor;
  /** [1, S, 1], 0 for padding; without padding, none. */
  kept_tokens?: SymbolicTensor;
};

const epsilon = 1e-6;
const noBias = { bias: false };

export const hiDreamTransformer = defineTransformer<HiDreamConfig, HiDreamState>({
  className: 'HiDreamImageTransformer2DModel',
  separateCfg: false,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  // A token whose scores are near would take another expert.
  float32Modules: ['t_embedder.**', '*.*.block.ff_i.gate'],

  parseConfig(config) {
    const heads = config.count('num_attention_heads', 20);
    const inChannels = config.integer('in_channels', 64);
    const patchSize = config.count('patch_size', 2);
    const [doubleBlocks, singleBlocks] = [config.layers('num_layers', 16), config.layers('num_single_layers', 32)];
    const pair = (name: string, fallback: readonly [number, number]) => {
      const values = config.integers(name, fallback);
      if (values.length === 2) return values as readonly [number, number];
      throw new DejaDitError('INVALID_CONFIG', `'${name}' is [${values}], expected two integers`, {
        path: config.origin,
      });
    };
    const llamaLayers = config.integers(
      'llama_layers',
      Array.from({ length: doubleBlocks + singleBlocks }, (_, block) => Math.min(block, 31)),
      { min: 0 },
    );
    if (llamaLayers.length !== doubleBlocks + singleBlocks) {
      throw new DejaDitError(
        'INVALID_CONFIG',
        `'llama_layers' has ${llamaLayers.length} entries for ${doubleBlocks + singleBlocks} blocks`,
        { path: config.origin },
      );
    }
    const [rows, columns] = pair('max_resolution', [128, 128]);
    return {
      inChannels,
      outChannels: config.outChannels(inChannels),
      patchSize,
      doubleBlocks,
      singleBlocks,
      heads,
      width: heads * config.count('attention_head_dim', 128),
      captionWidths: pair('caption_channels', [4096, 4096]),
      pooledWidth: config.integer('text_emb_dim', 2048),
      experts: config.integer('num_routed_experts', 4, { min: 0, max: 64 }),
      chosenExperts: config.count('num_activated_experts', 2),
      axesDim: config.counts('axes_dims_rope', [32, 32]),
      maxTokens: Math.floor((rows * columns) / patchSize ** 2),
      llamaLayers,
    };
  },

  traits: ({ width, inChannels, outChannels, patchSize, maxTokens }) => ({
    width,
    inChannels,
    outChannels,
    patch: [1, patchSize, patchSize],
    maxTokens,
  }),

  inputs: ({ inChannels, captionWidths: [t5, llama], pooledWidth }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'height', 'width'] },
    { name: 'timesteps', kind: 'float', shape: ['batch'] },
    { name: 'encoder_hidden_states_t5', kind: 'float', shape: ['batch', 't5_tokens', t5] },
    { name: 'encoder_hidden_states_llama3', kind: 'float', shape: ['llama_layers', 'batch', 'llama_tokens', llama] },
    { name: 'pooled_embeds', kind: 'float', shape: ['batch', pooledWidth] },
  ],

  prepare(tensors, { patchSize, axesDim, maxTokens, llamaLayers }) {
    const grid = patchGrid('hidden_states', tensors.hidden_states!, [patchSize, patchSize]);
    const cells = gridPositions(grid).map((cell) => [0, ...cell]);
    const tokens = grid[0] === grid[1] ? cells.length : maxTokens;
    if (cells.length > tokens) {
      throw new DejaDitError(
        'INVALID_ARGUMENT',
        `${cells.length} tokens of an image that is not square, at most ${maxTokens}`,
        {
          path: 'hidden_states',
        },
      );
    }
    const llama = tensors.encoder_hidden_states_llama3!;
    const missing = llamaLayers.find((layer) => layer >= llama.dim(0));
    if (missing !== undefined) {
      throw new DejaDitError(
        'SHAPE_MISMATCH',
        `${llama.dim(0)} states, but 'llama_layers' asks for number ${missing}`,
        {
          path: 'encoder_hidden_states_llama3',
        },
      );
    }
    const unplaced = tokens - cells.length + tensors.encoder_hidden_states_t5!.dim(1) + 2 * llama.dim(2);
    const rotary = rotaryTables([...cells, ...Array.from({ length: unplaced }, () => [0, 0, 0])], {
      axesDim,
      theta: 10000,
    });
    const kept = Float32Array.from({ length: tokens }, (_, token) => (token < cells.length ? 1 : 0));
    return {
      tensors: {
        ...tensors,
        ...(tokens > cells.length ? { kept_tokens: floatTensor(kept, [1, tokens, 1]) } : {}),
        ...attentionTensors(rotary),
      },
      statics: { grid, tokens },
    };
  },

  prologue(m, inputs, { width, patchSize, llamaLayers }, { tokens }) {
    const patches = patchify(inputs.hidden_states!, [patchSize, patchSize]);
    const projected = (index: number, text: SymbolicTensor) =>
      linear(m.at(`caption_projection.${index}.linear`), text, width, noBias);
    const tails = llamaLayers.map((state, block) =>
      projected(block, inputs.encoder_hidden_states_llama3!.slice(0, state, state + 1).squeeze(0)),
    );
    const t5 = projected(llamaLayers.length, inputs.encoder_hidden_states_t5!);
    const time = sinusoidalEmbedding(inputs.timesteps!, { dim: 256 });
    return {
      hidden_states: linear(
        m.at('x_embedder.proj'),
        pad(patches, [0, 0, 0, 0, Number(tokens) - patches.dim(1), 0]),
        width,
      ),
      encoder_hidden_states: concat([t5, tails.at(-1)!], 1),
      temb: timestepEmbedding(m.at('t_embedder.timestep_embedder'), time, width).add(
        timestepEmbedding(m.at('p_embedder.pooled_embedder'), inputs.pooled_embeds!, width),
      ),
      tails: concat(
        tails.map((tail) => tail.unsqueeze(0)),
        0,
      ),
      ...(inputs.kept_tokens ? { kept_tokens: inputs.kept_tokens } : {}),
      ...attentionInputs(inputs),
    };
  },

  smallestCalls: ({ patchSize, llamaLayers }) => [
    { sizes: { height: patchSize, width: patchSize, llama_layers: Math.max(0, ...llamaLayers) + 1 } },
  ],

  blockLists: (config) => [
    {
      name: 'double_stream_blocks',
      pattern: 0,
      count: config.doubleBlocks,
      block: (m, state, { index }) => doubleBlock(m.at('block'), state, tailOf(state, index), config),
    },
    {
      name: 'single_stream_blocks',
      pattern: 3,
      count: config.singleBlocks,
      enter: (_, { hidden_states, encoder_hidden_states }) => ({
        hidden_states: concat([hidden_states, encoder_hidden_states], 1),
      }),
      block: (m, state, { index }) =>
        singleBlock(m.at('block'), state, tailOf(state, config.doubleBlocks + index), config),
    },
  ],

  epilogue(m, { hidden_states, temb }, { width, patchSize, outChannels }, { grid }) {
    const [rows, columns] = grid as [number, number];
    const final = m.at('final_layer');
    const [shift, scale] = linear(final.at('adaLN_modulation.1'), temb.silu(), 2 * width).chunk(2);
    const normed = modulatedLayerNorm(hidden_states.slice(1, 0, rows * columns), { shift, scale }, epsilon);
    const patches = linear(final.at('linear'), normed, patchSize ** 2 * outChannels);
    return unpatchify(patches, { grid: [rows, columns], patch: [patchSize, patchSize] });
  },
});

const tailOf = ({ tails }: HiDreamState, block: number) => tails.slice(0, block, block + 1).squeeze(0);

/** Image and text keep their own weights and meet in attention; only the image has experts. */
const doubleBlock = layer(
  (m, state: HiDreamState, tail: SymbolicTensor, config: HiDreamConfig): Partial<HiDreamState> => {
    const { width } = config;
    const text = concat([state.encoder_hidden_states, tail], 1);
    const [ofImage, ofImageMlp, ofText, ofTextMlp] = projectModulations(m.at('adaLN_modulation.1'), state.temb, {
      sublayers: 4,
      width,
    });
    const out = dualStreamBlock({
      image: {
        x: state.hidden_states,
        modulations: [ofImage, ofImageMlp],
        feedForward: (x) => mixtureOfExperts(m.at('ff_i'), x, config),
      },
      text: {
        x: text,
        modulations: [ofText, ofTextMlp],
        feedForward: (x) => mixtureOfExperts(m.at('ff_t'), x, { experts: 0, chosenExperts: 0 }),
      },
      attend: (normed) => hiDreamAttention(m.at('attn1'), normed, state, config),
    });
    return { ...out, encoder_hidden_states: out.encoder_hidden_states.slice(1, 0, state.encoder_hidden_states.dim(1)) };
  },
);

/** The joined sequence [image, text, tail]. */
const singleBlock = layer(
  (m, state: HiDreamState, tail: SymbolicTensor, config: HiDreamConfig): Partial<HiDreamState> => {
    const [ofAttention, ofMlp] = projectModulations(m.at('adaLN_modulation.1'), state.temb, {
      sublayers: 2,
      width: config.width,
    });
    const informed = modulatedResidual(concat([state.hidden_states, tail], 1), {
      modulation: ofAttention,
      sublayer: (image) => hiDreamAttention(m.at('attn1'), { image }, state, config).image,
    });
    const hidden_states = modulatedResidual(informed, {
      modulation: ofMlp,
      sublayer: (x) => mixtureOfExperts(m.at('ff_i'), x, config),
    });
    return { hidden_states: hidden_states.slice(1, 0, state.hidden_states.dim(1)) };
  },
);

/** Of a first stream and, in double blocks, of a text with projections of its own. Diffusers names both as no other model does. */
const hiDreamAttention = layer(
  (
    m,
    { image, text }: { image: SymbolicTensor; text?: SymbolicTensor },
    state: HiDreamState,
    { heads }: HiDreamConfig,
  ): { image: SymbolicTensor; text: SymbolicTensor | undefined } => {
    const project = (x: SymbolicTensor, suffix: string) =>
      projectQkv(m, x, {
        heads,
        qkNorm: { kind: 'rms_norm_across_heads', epsilon: 1e-5 },
        names: {
          query: `to_q${suffix}`,
          key: `to_k${suffix}`,
          value: `to_v${suffix}`,
          queryNorm: `q_rms_norm${suffix}`,
          keyNorm: `k_rms_norm${suffix}`,
        },
      });
    const first = project(image, '');
    const second = text && project(text, '_t');
    const joined = (part: keyof Projections) => (second ? concat([first[part], second[part]], 1) : first[part]);
    let key = joined('key');
    const kept = state.kept_tokens;
    if (kept) {
      const [padded, others] = key.split(1, [kept.dim(1), key.dim(1) - kept.dim(1)]);
      key = concat([padded.mul(kept), others], 1);
    }
    const { rotary } = attentionOptions(state);
    const attended = attend({ query: joined('query'), key, value: joined('value'), heads, rotary });
    const out = (name: string, x: SymbolicTensor) => linear(m.at(name), x, image.dim(-1));
    if (!text) return { image: out('to_out', attended), text: undefined };
    const [ofImage, ofText] = attended.split(1, [image.dim(1), text.dim(1)]);
    return { image: out('to_out', ofImage), text: out('to_out_t', ofText) };
  },
);
