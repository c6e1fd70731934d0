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
import { attention } from '../../../nn/attention.ts';
import { keyBias, maskRows, trimText } from '../../../nn/attention-mask.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { gatedFeedForward, linear } from '../../../nn/linear.ts';
import { layer } from '../../../nn/module.ts';
import { modulatedLayerNorm, modulation, rmsNorm } from '../../../nn/norms.ts';
import { packingOf, packSequences, unpackSecond } from '../../../nn/packing.ts';
import { patchGrid, patchify, unpatchify } from '../../../nn/patches.ts';
import { gridPositions, type Rotary, rotaryTables } from '../../../nn/rotary.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';

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

type Lumina2State = {
  hidden_states: SymbolicTensor;
  /** Time alone, [B, min(D, 1024)]. */
  temb: SymbolicTensor;
  rotary_cos: SymbolicTensor;
  rotary_sin: SymbolicTensor;
  /** Where captions differ in length (see `nn/packing.ts`). */
  packed_bias?: SymbolicTensor;
  second_rows?: SymbolicTensor;
};

export const lumina2Transformer = defineTransformer<Lumina2Config, Lumina2State>({
  className: 'Lumina2Transformer2DModel',
  separateCfg: true,

  parseConfig(config) {
    const width = config.integer('hidden_size', 2304);
    const heads = config.integer('num_attention_heads', 24);
    const inChannels = config.integer('in_channels', 16);
    const patch = config.integer('patch_size', 2);
    const multiple = config.integer('multiple_of', 256);
    const factor = config.nullable('ffn_dim_multiplier', (name) => config.number(name)) ?? 1;
    return {
      inChannels,
      outChannels: config.nullable('out_channels', (name) => config.integer(name)) ?? inChannels,
      blocks: config.integer('num_layers', 26),
      refinerBlocks: config.integer('num_refiner_layers', 2),
      heads,
      keyValueHeads: config.json.num_kv_heads === null ? heads : config.integer('num_kv_heads', 8),
      width,
      captionWidth: config.integer('cap_feat_dim', 1024),
      mlpWidth: multiple * Math.ceil(Math.floor(factor * 4 * width) / multiple),
      axesDim: config.integers('axes_dim_rope', [32, 32, 32]),
      patch: [patch, patch],
      normEpsilon: config.number('norm_eps', 1e-5),
    };
  },

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
    const packing = packingOf({ kept: captions, first: caption.shape[1]!, second: cells.length });

    const tables = (name: string, positions: readonly (readonly (readonly number[])[])[]) => {
      const { cos, sin } = rotaryTables(positions.flat(), { axesDim, theta: 10000 });
      const shape = [positions.length, positions[0]!.length, -1];
      return { [`${name}_cos`]: cos.reshape(shape), [`${name}_sin`]: sin.reshape(shape) };
    };
    const captionPositions = (length: number) => Array.from({ length }, (_, i) => [i, 0, 0]);
    const imagePositions = (length: number) => cells.map((cell) => [length, ...cell]);
    const padding = (length: number) => Array.from({ length: packing.length - length - cells.length }, () => [0, 0, 0]);

    return {
      tensors: {
        hidden_states: hidden_states!,
        timestep: timestep!,
        caption,
        ...(captionBias ? { caption_bias: captionBias } : {}),
        ...packing.tensors,
        ...tables('caption', [captionPositions(caption.shape[1]!)]),
        ...tables('image', captions.map(imagePositions)),
        ...tables(
          'rotary',
          captions.map((length) => [...captionPositions(length), ...imagePositions(length), ...padding(length)]),
        ),
      },
      statics: { grid },
    };
  },

  prologue(m, inputs, config) {
    const { width, patch, refinerBlocks, normEpsilon } = config;
    const embed = m.at('time_caption_embed');
    const sinusoids = sinusoidalEmbedding(inputs.timestep!, { dim: 256 });
    const temb = timestepEmbedding(embed.at('timestep_embedder'), sinusoids, Math.min(width, 1024));

    const embedder = embed.at('caption_embedder');
    let caption = linear(embedder.at(1), rmsNorm(embedder.at(0), inputs.caption!, normEpsilon), width);
    let image = linear(m.at('x_embedder'), patchify(inputs.hidden_states!, patch), width);
    for (let i = 0; i < refinerBlocks; i++) {
      const captionRotary = { cos: inputs.caption_cos!, sin: inputs.caption_sin! };
      const imageRotary = { cos: inputs.image_cos!, sin: inputs.image_sin! };
      const refine = { rotary: captionRotary, bias: inputs.caption_bias, config };
      caption = sandwichBlock(m.at(`context_refiner.${i}`), caption, refine);
      image = sandwichBlock(m.at(`noise_refiner.${i}`), image, { rotary: imageRotary, temb, config });
    }
    const { rotary_cos, rotary_sin, packed_rows, packed_bias, second_rows } = inputs;
    return {
      hidden_states: packSequences(concat([caption, image], 1), packed_rows),
      temb,
      rotary_cos: rotary_cos!,
      rotary_sin: rotary_sin!,
      ...(packed_bias ? { packed_bias } : {}),
      ...(second_rows ? { second_rows } : {}),
    };
  },

  blockLists: (config) => [
    {
      name: 'layers',
      pattern: 3,
      count: config.blocks,
      block: (m, { hidden_states, temb, rotary_cos, rotary_sin, packed_bias: bias }) => {
        const rotary = { cos: rotary_cos, sin: rotary_sin };
        return { hidden_states: sandwichBlock(m, hidden_states, { rotary, temb, bias, config }) };
      },
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

interface SandwichBlock {
  rotary: Rotary;
  /** Absent in the caption's refiner, which is not modulated. */
  temb?: SymbolicTensor;
  /** Of keys, [B, S]. */
  bias?: SymbolicTensor | undefined;
  config: Lumina2Config;
}

const sandwichBlock = layer((m, x: SymbolicTensor, { rotary, temb, bias, config }: SandwichBlock) => {
  const { heads, keyValueHeads, width, mlpWidth, normEpsilon } = config;
  const norm = (name: string, y: SymbolicTensor) => rmsNorm(m.at(name), y, normEpsilon);
  const [attentionScale, attentionGate, mlpScale, mlpGate] = temb
    ? modulation(m.at('norm1'), temb, 4, width)
    : [undefined, undefined, undefined, undefined];
  const scaled = (y: SymbolicTensor, scale?: SymbolicTensor) => (scale ? y.mul(scale.add(1)) : y);
  const gated = (y: SymbolicTensor, gate?: SymbolicTensor) => (gate ? gate.tanh().mul(y) : y);

  const attended = attention(m.at('attn'), scaled(norm(temb ? 'norm1.norm' : 'norm1', x), attentionScale), {
    heads,
    keyValueHeads,
    qkNorm: { kind: 'rms_norm', epsilon: 1e-5 },
    rotary,
    bias: bias && keyBias(bias, x.dim(1)),
  });
  const afterAttention = x.add(gated(norm('norm2', attended), attentionGate));
  const mlp = gatedFeedForward(m.at('feed_forward'), scaled(norm('ffn_norm1', afterAttention), mlpScale), {
    inner: mlpWidth,
    names: { gate: 'linear_1', value: 'linear_3', out: 'linear_2' },
  });
  return afterAttention.add(gated(norm('ffn_norm2', mlp), mlpGate));
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
