/**
 * Lumina-Image 2.0 (arXiv 2503.21758), Diffusers' `Lumina2Transformer2DModel`: one stream of caption and image tokens, "Next-DiT".
 *
 * Notation: D is the width; a sample's sequence is [caption, image, padding], where captions may differ in length and only the
 * padding of the joined sequence stays. Refiner blocks first work on caption and image alone. Blocks have RMSNorms before and
 * after each sublayer ("sandwich"), gates through tanh, and fewer heads for keys than for queries. The caption is not modulated
 * by time. Rotary positions are (index, 0, 0) for caption tokens and (caption length, row, column) for image tokens.
 */
import { DejaDitError } from '../../../errors/errors.ts';
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { type AttentionLayerOptions, attention } from '../../../nn/attention/attention.ts';
import {
  type AttentionInputs,
  attentionInputs,
  attentionOptions,
  attentionTensors,
} from '../../../nn/attention/attention-inputs.ts';
import { maskRows, trimText } from '../../../nn/attention/attention-mask.ts';
import { conditionEmbedding } from '../../../nn/embeddings.ts';
import { gatedFeedForward, linear } from '../../../nn/linear.ts';
import { sandwichModulations, sandwichResidual } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { modulatedLayerNorm, modulation, rmsNorm } from '../../../nn/norms.ts';
import { packingOf, packSequences, unpackSecond } from '../../../nn/packing.ts';
import { patchGrid, patchify, unpatchify } from '../../../nn/patches.ts';
import { gridPositions, type RotaryTables, rotaryTables } from '../../../nn/rotary.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import { lumina2Names } from './lumina2-names.ts';

interface Lumina2Config {
  inChannels: number;
  outChannels: number;
  blocks: number;
  refinerBlocks: number;
  heads: number;
  keyValueHeads: number;
  width: number;
  captionWidth: number;
  mlpWidth: number;
  axesDim: readonly number[];
  patch: readonly [number, number];
  normEpsilon: number;
}

type Lumina2State = AttentionInputs & {
  hidden_states: SymbolicTensor;
  /** Time alone, [B, min(D, 1024)]. */
  temb: SymbolicTensor;
  /** Where captions differ in length: the rows of image tokens (see `nn/packing.ts`). */
  second_rows?: SymbolicTensor;
};

export const lumina2Transformer = defineTransformer<Lumina2Config, Lumina2State>({
  className: 'Lumina2Transformer2DModel',
  separateCfg: true,
  tokens: { hidden_states: 1 },
  float32Modules: ['time_caption_embed.**'],
  originalNames: lumina2Names,

  parseConfig(config) {
    const width = config.integer('hidden_size', 2304);
    const heads = config.count('num_attention_heads', 24);
    const inChannels = config.integer('in_channels', 16);
    const patch = config.count('patch_size', 2);
    const multiple = config.integer('multiple_of', 256);
    const factor = config.nullable('ffn_dim_multiplier', (name) => config.positive(name)) ?? 1;
    return {
      inChannels,
      outChannels: config.outChannels(inChannels),
      blocks: config.layers('num_layers', 26),
      refinerBlocks: config.count('num_refiner_layers', 2),
      heads,
      keyValueHeads: config.json.num_kv_heads === null ? heads : config.count('num_kv_heads', 8),
      width,
      captionWidth: config.integer('cap_feat_dim', 1024),
      mlpWidth: multiple * Math.ceil(Math.floor(factor * 4 * width) / multiple),
      axesDim: config.counts('axes_dim_rope', [32, 32, 32]),
      patch: [patch, patch],
      normEpsilon: config.positive('norm_eps', 1e-5),
    };
  },

  traits: ({ width, inChannels, outChannels, patch, captionWidth }) => ({
    width,
    inChannels,
    outChannels,
    patch: [1, ...patch],
    textWidth: captionWidth,
  }),

  inputs: ({ inChannels, captionWidth }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'height', 'width'] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', captionWidth] },
    { name: 'encoder_attention_mask', kind: 'bool', shape: ['batch', 'text_tokens'] },
  ],

  prepare({ hidden_states, timestep, encoder_hidden_states, encoder_attention_mask }, { axesDim, patch }) {
    const grid = patchGrid('hidden_states', hidden_states!, patch);
    const captions = captionLengths(encoder_attention_mask!);
    const { text: caption, bias: captionBias } = trimText(encoder_hidden_states!, encoder_attention_mask);
    const cells = gridPositions(grid);
    const packing = packingOf({ kept: captions, first: caption.dim(1), second: cells.length });

    const tables = (positions: readonly (readonly (readonly number[])[])[]): RotaryTables => {
      const { cos, sin } = rotaryTables(positions.flat(), { axesDim, theta: 10000 });
      const shape = [positions.length, positions[0]!.length, -1];
      return { cos: cos.reshape(shape), sin: sin.reshape(shape) };
    };
    const captionPositions = (length: number) => Array.from({ length }, (_, i) => [i, 0, 0]);
    const imagePositions = (length: number) => cells.map((cell) => [length, ...cell]);
    const padding = (length: number) => Array.from({ length: packing.length - length - cells.length }, () => [0, 0, 0]);
    const ofCaption = tables([captionPositions(caption.dim(1))]);
    const ofImage = tables(captions.map(imagePositions));
    const ofAll = tables(
      captions.map((length) => [...captionPositions(length), ...imagePositions(length), ...padding(length)]),
    );
    return {
      tensors: {
        hidden_states: hidden_states!,
        timestep: timestep!,
        caption,
        ...(captionBias ? { caption_bias: captionBias } : {}),
        caption_cos: ofCaption.cos,
        caption_sin: ofCaption.sin,
        image_cos: ofImage.cos,
        image_sin: ofImage.sin,
        ...attentionTensors(ofAll, packing.mask),
        ...packing.tensors,
      },
      statics: { grid },
    };
  },

  prologue(m, inputs, config) {
    const { width, patch, refinerBlocks, normEpsilon } = config;
    const embed = m.at('time_caption_embed');
    const temb = conditionEmbedding(embed, { timestep: inputs.timestep! }, { width: Math.min(width, 1024) });

    const embedder = embed.at('caption_embedder');
    let caption = linear(embedder.at(1), rmsNorm(embedder.at(0), inputs.caption!, normEpsilon), width);
    let image = linear(m.at('x_embedder'), patchify(inputs.hidden_states!, patch), width);
    const ofCaption = {
      rotary: { cos: inputs.caption_cos!, sin: inputs.caption_sin! },
      mask: { bias: inputs.caption_bias },
    };
    const ofImage = { rotary: { cos: inputs.image_cos!, sin: inputs.image_sin! } };
    for (let i = 0; i < refinerBlocks; i++) {
      caption = sandwichBlock(m.at(`context_refiner.${i}`), caption, { ...ofCaption, config });
      image = sandwichBlock(m.at(`noise_refiner.${i}`), image, { ...ofImage, temb, config });
    }
    const { packed_rows, second_rows } = inputs;
    return {
      hidden_states: packSequences(concat([caption, image], 1), packed_rows),
      temb,
      ...attentionInputs(inputs),
      ...(second_rows ? { second_rows } : {}),
    };
  },

  smallestCalls: ({ patch: [height, width] }) => [{ sizes: { height, width } }],

  blockLists: (config) => [
    {
      name: 'layers',
      pattern: 3,
      count: config.blocks,
      block: (m, { hidden_states, temb, ...state }) => ({
        hidden_states: sandwichBlock(m, hidden_states, { ...attentionOptions(state), temb, config }),
      }),
    },
  ],

  epilogue(m, { hidden_states, temb, second_rows }, { width, patch, outChannels }, statics) {
    const grid = statics.grid as readonly [number, number];
    const scale = linear(m.at('norm_out.linear_1'), temb.silu(), width);
    const values = linear(
      m.at('norm_out.linear_2'),
      modulatedLayerNorm(hidden_states, { scale }),
      patch[0] * patch[1] * outChannels,
    );
    return unpatchify(unpackSecond(values, grid[0] * grid[1], second_rows), { grid, patch });
  },
});

interface SandwichBlock extends Pick<AttentionLayerOptions, 'rotary' | 'mask'> {
  /** Absent in the caption's refiner, which is not modulated. */
  temb?: SymbolicTensor;
  config: Lumina2Config;
}

const sandwichBlock = layer((m, x: SymbolicTensor, { rotary, mask, temb, config }: SandwichBlock) => {
  const { heads, keyValueHeads, width, mlpWidth, normEpsilon } = config;
  const norm = (name: string) => (y: SymbolicTensor) => rmsNorm(m.at(name), y, normEpsilon);
  const [ofAttention, ofMlp] = sandwichModulations(temb && modulation(m.at('norm1'), temb, 4, { width }));
  const attended = sandwichResidual(x, {
    modulation: ofAttention,
    normBefore: norm(temb ? 'norm1.norm' : 'norm1'),
    sublayer: (y) =>
      attention(m.at('attn'), y, {
        heads,
        keyValueHeads,
        qkNorm: { kind: 'rms_norm', epsilon: 1e-5 },
        projectionBias: false,
        outputBias: false,
        rotary,
        mask,
      }),
    normAfter: norm('norm2'),
  });
  return sandwichResidual(attended, {
    modulation: ofMlp,
    normBefore: norm('ffn_norm1'),
    sublayer: (y) =>
      gatedFeedForward(m.at('feed_forward'), y, {
        inner: mlpWidth,
        bias: false,
        names: { gate: 'linear_1', value: 'linear_3', out: 'linear_2' },
      }),
    normAfter: norm('ffn_norm2'),
  });
});

/** Tokens that each sample keeps of its caption. */
function captionLengths(mask: Tensor): number[] {
  return maskRows(mask).map((row, sample) => {
    const length = row.filter(Boolean).length;
    if (row.lastIndexOf(true) < length) return length;
    throw new DejaDitError('INVALID_ARGUMENT', `sample ${sample} has padding before text, expected it at the end`, {
      path: 'encoder_attention_mask',
    });
  });
}
