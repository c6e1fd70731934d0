/**
 * HunyuanVideo 1.5 (Tencent, 2025, arXiv 2511.18870), Diffusers' `HunyuanVideo15Transformer3DModel`: two-stream blocks only, for text and
 * for images to video.
 *
 * Notation: D = heads · head dim is the width; tokens are [video, condition]. The condition is made of the states of an image encoder, of
 * ByT5 (words to be written) and of a language model, which are refined first; each kind has an embedding of its own. Kept tokens of all
 * three come first, and padding neither is seen nor sees. An image of zeros stands for none.
 */

import { concat, gather } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attentionInputs, attentionTensors } from '../../../nn/attention/attention-inputs.ts';
import { maskRows, tokenMask } from '../../../nn/attention/attention-mask.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { type FluxState, fluxDoubleBlock } from '../../../nn/flux-blocks.ts';
import { linear } from '../../../nn/linear.ts';
import { modulatedOutput } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { layerNorm } from '../../../nn/norms.ts';
import { patchEmbedding, patchGrid, unpatchify } from '../../../nn/patches.ts';
import { gridPositions, rotaryTables } from '../../../nn/rotary.ts';
import { floatTensor, intTensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import { glyphProjection } from '../hunyuanimage/glyphs.ts';
import { type HunyuanVideoSizes, hunyuanVideoSizes } from '../hunyuanvideo/hunyuanvideo-sizes.ts';
import { refinedText, refinerTensors } from '../hunyuanvideo/token-refiner.ts';

interface HunyuanVideo15Config extends HunyuanVideoSizes {
  blocks: number;
  glyphWidth: number;
  imageWidth: number;
  meanFlow: boolean;
  targetSize: number;
}

export const hunyuanVideo15Transformer = defineTransformer<HunyuanVideo15Config, FluxState>({
  className: 'HunyuanVideo15Transformer3DModel',
  separateCfg: true,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['time_embed.**', 'context_embedder.time_text_embed.**'],

  parseConfig(config) {
    return {
      ...hunyuanVideoSizes(config, { inChannels: 65, outChannels: 32, heads: 16, patch: 1, textWidth: 3584 }),
      blocks: config.layers('num_layers', 54),
      glyphWidth: config.integer('text_embed_2_dim', 1472),
      imageWidth: config.integer('image_embed_dim', 1152),
      meanFlow: config.boolean('use_meanflow', false),
      targetSize: config.count('target_size', 640),
    };
  },

  traits: ({ width, inChannels, outChannels, patch, textWidth, glyphWidth, imageWidth, meanFlow, targetSize }) => ({
    width,
    inChannels,
    outChannels,
    patch,
    textWidth,
    glyphWidth,
    imageWidth,
    takesEndTime: meanFlow,
    targetSize,
  }),

  inputs: ({ inChannels, textWidth, glyphWidth, imageWidth, meanFlow }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'frames', 'height', 'width'] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'encoder_attention_mask', kind: 'bool', shape: ['batch', 'text_tokens'] },
    ...(meanFlow ? [{ name: 'timestep_r', kind: 'float', shape: ['batch'], optional: true } as const] : []),
    { name: 'encoder_hidden_states_2', kind: 'float', shape: ['batch', 'glyph_tokens', glyphWidth] },
    { name: 'encoder_attention_mask_2', kind: 'bool', shape: ['batch', 'glyph_tokens'] },
    { name: 'image_embeds', kind: 'float', shape: ['batch', 'image_tokens', imageWidth] },
  ],

  prepare({ encoder_attention_mask, encoder_attention_mask_2, ...tensors }, config) {
    const grid = patchGrid('hidden_states', tensors.hidden_states!, config.patch);
    const cells = gridPositions(grid);
    const hasImage = tensors.image_embeds!.f32.some((value) => value !== 0);
    const image = Array.from({ length: tensors.image_embeds!.dim(1) }, () => hasImage);
    const text = maskRows(encoder_attention_mask!);
    const glyphs = maskRows(encoder_attention_mask_2!);
    const kept = text.map((row, sample) => [...image, ...glyphs[sample]!, ...row]);
    const order = kept.map((row) =>
      [true, false].flatMap((keep) => row.flatMap((is, token) => (is === keep ? [token] : []))),
    );
    const visible = kept.map((row, sample) => [
      ...cells.map(() => true),
      ...order[sample]!.map((token) => row[token]!),
    ]);
    const rotary = rotaryTables([...cells, ...kept[0]!.map(() => [0, 0, 0])], { ...config, precision: 'single' });
    const rows = order.flatMap((tokens, sample) => tokens.map((token) => sample * tokens.length + token));
    // Padded text is zero, as is an absent image before its kind is added.
    const weights = kept.flatMap((row) => row.map((keep, token) => (token < image.length || keep ? 1 : 0)));
    return {
      tensors: {
        ...tensors,
        ...refinerTensors(text, { seesFirst: false }),
        condition_rows: intTensor(rows, [kept.length, kept[0]!.length]),
        condition_weights: floatTensor(weights, [kept.length, kept[0]!.length, 1]),
        image_weight: floatTensor([hasImage ? 1 : 0]),
        ...attentionTensors(rotary, tokenMask(visible)),
      },
      statics: { grid },
    };
  },

  prologue(m, inputs, config) {
    const { width, patch } = config;
    const kinds = m.at('cond_type_embed').weight('weight', [3, width]);
    const kind = (x: SymbolicTensor, index: number) => x.add(kinds.slice(0, index, index + 1).reshape([1, 1, width]));
    const image = imageProjection(m.at('image_embedder'), inputs.image_embeds!, width).mul(inputs.image_weight!);
    const glyphs = glyphProjection(m.at('context_embedder_2'), inputs.encoder_hidden_states_2!, width);
    const text = refinedText(m.at('context_embedder'), inputs, config);
    const condition = concat([kind(image, 2), kind(glyphs, 1), kind(text, 0)], 1).mul(inputs.condition_weights!);
    const embed = (name: string, time: SymbolicTensor) =>
      timestepEmbedding(m.at(`time_embed.${name}`), sinusoidalEmbedding(time, { dim: 256 }), width);
    const time = embed('timestep_embedder', inputs.timestep!);
    return {
      hidden_states: patchEmbedding(m.at('x_embedder'), inputs.hidden_states!, { patch, width }),
      encoder_hidden_states: gather(condition.reshape([-1, width]), inputs.condition_rows!),
      temb: inputs.timestep_r ? time.add(embed('timestep_embedder_r', inputs.timestep_r)) : time,
      ...attentionInputs(inputs),
    };
  },

  smallestCalls: ({ patch: [frames, height, width] }) => [{ sizes: { frames, height, width } }],

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 0,
      count: config.blocks,
      block: (m, state) => fluxDoubleBlock(m, state, { ...config, first: 'image' }),
    },
  ],

  epilogue(m, { hidden_states, temb }, { patch, outChannels }, { grid }) {
    const outFeatures = outChannels * patch[0] * patch[1] * patch[2];
    const patches = modulatedOutput(m, hidden_states, { temb, outFeatures });
    return unpatchify(patches, { grid: grid as number[], patch, channels: 'first' });
  },
});

/** States of the image encoder [B, N, C] → [B, N, D]. */
const imageProjection = layer((m, x: SymbolicTensor, width: number): SymbolicTensor => {
  const hidden = linear(m.at('linear_1'), layerNorm(m.at('norm_in'), x, 1e-5), x.dim(-1)).gelu();
  return layerNorm(m.at('norm_out'), linear(m.at('linear_2'), hidden, width), 1e-5);
});
