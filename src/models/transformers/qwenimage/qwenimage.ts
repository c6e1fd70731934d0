/**
 * Qwen-Image (Alibaba, 2025, arXiv 2508.02324), Diffusers' `QwenImageTransformer2DModel`: an MM-DiT of two-stream blocks only, for
 * text to image, editing and layered images.
 *
 * Notation: D = heads · head dim is the width; tokens are [text, image]. Latents arrive packed, 2×2 pixels a token. Positions
 * are (frame, row, column) with rows and columns counted from the image's centre, so that the same picture at another size keeps
 * its middle; text follows on the diagonal beyond the image ("MSRoPE"). When editing, the images to edit follow the one to
 * make, each as a further frame.
 */
import { DejaDitError } from '../../../errors/errors.ts';
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { jointAttention } from '../../../nn/attention/attention.ts';
import {
  type AttentionInputs,
  attentionInputs,
  attentionOptions,
  attentionTensors,
} from '../../../nn/attention/attention-inputs.ts';
import { keyMask, maskRows } from '../../../nn/attention/attention-mask.ts';
import { embedding, sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { feedForward, linear } from '../../../nn/linear.ts';
import { modulatedOutput, projectModulations } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { rmsNorm } from '../../../nn/norms.ts';
import { rotaryTables } from '../../../nn/rotary.ts';
import { dualStreamBlock } from '../../../nn/stream-blocks.ts';
import { cleanTokenRows, currentTime } from '../../../nn/token-times.ts';
import { dims, type Tensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import { imageShapes, positions, tokensOf } from './image-shapes.ts';

interface QwenImageConfig {
  inChannels: number;
  outChannels: number;
  blocks: number;
  heads: number;
  width: number;
  textWidth: number;
  axesDim: readonly number[];
  /** Images to edit are modulated as at time 0. */
  cleanReferences: boolean;
  /** The time embedding has a second condition of two classes. */
  additionalCondition: boolean;
  /** The last image is what the layers come from, and sits at frame −1. */
  layered: boolean;
}

type QwenImageState = AttentionInputs & {
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  /** [B, D]; with clean references [2·B, D], the second half at time 0. */
  temb: SymbolicTensor;
  /** [B, image tokens]: which row of temb each token takes. */
  temb_rows?: SymbolicTensor;
};

export const qwenImageTransformer = defineTransformer<QwenImageConfig, QwenImageState>({
  className: 'QwenImageTransformer2DModel',
  separateCfg: true,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['time_text_embed.**'],

  parseConfig(config) {
    config.requires('guidance_embeds', false);
    const heads = config.count('num_attention_heads', 24);
    const inChannels = config.integer('in_channels', 64);
    return {
      inChannels,
      outChannels: config.count('patch_size', 2) ** 2 * config.outChannels(inChannels, 16),
      blocks: config.layers('num_layers', 60),
      heads,
      width: heads * config.count('attention_head_dim', 128),
      textWidth: config.integer('joint_attention_dim', 3584),
      axesDim: config.counts('axes_dims_rope', [16, 56, 56]),
      cleanReferences: config.boolean('zero_cond_t', false),
      additionalCondition: config.boolean('use_additional_t_cond', false),
      layered: config.boolean('use_layer3d_rope', false),
    };
  },

  traits: ({ width, inChannels, outChannels, textWidth }) => ({
    width,
    inChannels,
    outChannels,
    patch: [1, 1, 1],
    textWidth,
  }),

  inputs: ({ inChannels, textWidth, additionalCondition }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'image_tokens', inChannels] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'encoder_hidden_states_mask', kind: 'bool', shape: ['batch', 'text_tokens'], optional: true },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'img_shapes', kind: 'other' },
    { name: 'additional_t_cond', kind: 'int', shape: ['batch'], optional: !additionalCondition },
  ],

  prepare(
    { hidden_states, encoder_hidden_states, encoder_hidden_states_mask, timestep, additional_t_cond },
    config,
    inputs,
  ) {
    const [batch, imageTokens] = dims(hidden_states!, 3);
    const textTokens = encoder_hidden_states!.dim(1);
    const images = imageShapes(inputs.img_shapes, { batch, tokens: imageTokens });
    const rotary = rotaryTables(positions(images, { textTokens, layered: config.layered }), {
      axesDim: config.axesDim,
      theta: 10000,
      precision: 'single',
    });
    const visible =
      encoder_hidden_states_mask &&
      maskRows(encoder_hidden_states_mask).map((text) => [...text, ...Array<boolean>(imageTokens).fill(true)]);
    const isReference = images.flatMap((image, i) => Array<boolean>(tokensOf(image)).fill(i > 0));
    return {
      tensors: {
        hidden_states: hidden_states!,
        encoder_hidden_states: encoder_hidden_states!,
        timestep: timestep!,
        ...(config.additionalCondition ? { additional_t_cond: binary(additional_t_cond!) } : {}),
        ...(config.cleanReferences ? { temb_rows: cleanTokenRows(batch, isReference) } : {}),
        ...attentionTensors(rotary, visible && keyMask(visible)),
      },
    };
  },

  prologue(m, inputs, { width, cleanReferences }) {
    const { timestep, additional_t_cond, temb_rows } = inputs;
    const text = rmsNorm(m.at('txt_norm'), inputs.encoder_hidden_states!, 1e-6);
    const embed = m.at('time_text_embed');
    const times = cleanReferences ? concat([timestep!, timestep!.mul(0)], 0) : timestep!;
    let temb = timestepEmbedding(
      embed.at('timestep_embedder'),
      sinusoidalEmbedding(times, { dim: 256, scale: 1000 }),
      width,
    );
    if (additional_t_cond) {
      const classes = cleanReferences ? concat([additional_t_cond, additional_t_cond], 0) : additional_t_cond;
      temb = temb.add(embedding(embed.at('addition_t_embedding'), classes, { count: 2, width }));
    }
    return {
      hidden_states: linear(m.at('img_in'), inputs.hidden_states!, width),
      encoder_hidden_states: linear(m.at('txt_in'), text, width),
      temb,
      ...(temb_rows ? { temb_rows } : {}),
      ...attentionInputs(inputs),
    };
  },

  smallestCalls: () => [{ inputs: { img_shapes: [[1, 1, 1]] } }],

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 1,
      count: config.blocks,
      block: (m, state) => qwenImageBlock(m, state, config),
    },
  ],

  epilogue(m, { hidden_states, temb }, { outChannels }) {
    const now = currentTime(temb, hidden_states);
    return modulatedOutput(m, hidden_states, { temb: now, outFeatures: outChannels });
  },
});

/** Text and image keep their own weights and meet in attention. */
const qwenImageBlock = layer((m, state: QwenImageState, { heads, width }: QwenImageConfig): Partial<QwenImageState> => {
  const { hidden_states, encoder_hidden_states, temb, temb_rows } = state;
  const mlp = (name: string) => (normed: SymbolicTensor) =>
    feedForward(m.at(name), normed, { activation: 'gelu-approximate', inner: 4 * width });
  return dualStreamBlock({
    image: {
      x: hidden_states,
      modulations: projectModulations(m.at('img_mod.1'), temb, { sublayers: 2, width, rows: temb_rows }),
      feedForward: mlp('img_mlp'),
    },
    text: {
      x: encoder_hidden_states,
      modulations: projectModulations(m.at('txt_mod.1'), currentTime(temb, hidden_states), { sublayers: 2, width }),
      feedForward: mlp('txt_mlp'),
    },
    attend: (normed) =>
      jointAttention(m.at('attn'), {
        ...normed,
        heads,
        qkNorm: { kind: 'rms_norm', epsilon: 1e-6 },
        first: 'text',
        ...attentionOptions(state),
      }),
  });
});

function binary(condition: Tensor): Tensor {
  const wrong = Array.from(condition.data as BigInt64Array).find((value) => value !== 0n && value !== 1n);
  if (wrong === undefined) return condition;
  throw new DejaDitError('INVALID_ARGUMENT', `value ${wrong}, expected 0 or 1`, { path: 'additional_t_cond' });
}
