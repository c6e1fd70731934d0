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
import { attentionInputs } from '../../../nn/attention/attention-inputs.ts';
import { embedding, sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { linear } from '../../../nn/linear.ts';
import { modulatedOutput } from '../../../nn/modulation.ts';
import type { Module } from '../../../nn/module.ts';
import { rmsNorm } from '../../../nn/norms.ts';
import { cleanTokenRows, currentTime } from '../../../nn/token-times.ts';
import { dims, type Tensor } from '../../../tensor/tensor.ts';
import { controlled, controlSpecs, controlState, controlTensors } from '../../controlnets/control-samples.ts';
import { defineTransformer } from '../../definition.ts';
import { packedTraits } from '../flux/flux-family.ts';
import { imageShapes, tokensOf } from './image-shapes.ts';
import { type QwenImageState, qwenImageAttention, qwenImageBlock } from './qwenimage-blocks.ts';

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

/** With what a ControlNet adds. */
type ControlledState = QwenImageState & { controlnet_block_samples?: SymbolicTensor };

const controls = ['controlnet_block_samples'] as const;

export const qwenImageTransformer = defineTransformer<QwenImageConfig, ControlledState>({
  className: 'QwenImageTransformer2DModel',
  separateCfg: true,
  tokens: { hidden_states: 1, encoder_hidden_states: 1, controlnet_block_samples: 2 },
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

  traits: packedTraits,

  inputs: ({ inChannels, textWidth, additionalCondition }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'image_tokens', inChannels] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'encoder_hidden_states_mask', kind: 'bool', shape: ['batch', 'text_tokens'], optional: true },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'img_shapes', kind: 'other' },
    { name: 'additional_t_cond', kind: 'int', shape: ['batch'], optional: !additionalCondition },
    ...controlSpecs(controls),
  ],

  prepare(tensors, config, inputs) {
    const { hidden_states, encoder_hidden_states, timestep, additional_t_cond } = tensors;
    const [batch, imageTokens] = dims(hidden_states!, 3);
    const images = imageShapes(inputs.img_shapes, { batch, tokens: imageTokens });
    const isReference = images.flatMap((image, i) => Array<boolean>(tokensOf(image)).fill(i > 0));
    return {
      tensors: {
        hidden_states: hidden_states!,
        encoder_hidden_states: encoder_hidden_states!,
        timestep: timestep!,
        ...(config.additionalCondition ? { additional_t_cond: binary(additional_t_cond!) } : {}),
        ...(config.cleanReferences ? { temb_rows: cleanTokenRows(batch, isReference) } : {}),
        ...qwenImageAttention(tensors, images, config),
        ...controlTensors(controls, inputs, [batch, imageTokens, config.width]),
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
      ...controlState(controls, inputs),
    };
  },

  smallestCalls: () => [{ inputs: { img_shapes: [[1, 1, 1]] } }],

  blockLists: (config) => {
    const list = {
      name: 'transformer_blocks',
      pattern: 1 as const,
      count: config.blocks,
      block: (m: Module, state: ControlledState) => qwenImageBlock(m, state, config),
    };
    return [controlled(list, { name: controls[0] })];
  },

  epilogue(m, { hidden_states, temb }, { outChannels }) {
    const now = currentTime(temb, hidden_states);
    return modulatedOutput(m, hidden_states, { temb: now, outFeatures: outChannels });
  },
});

function binary(condition: Tensor): Tensor {
  const wrong = Array.from(condition.data as BigInt64Array).find((value) => value !== 0n && value !== 1n);
  if (wrong === undefined) return condition;
  throw new DejaDitError('INVALID_ARGUMENT', `value ${wrong}, expected 0 or 1`, { path: 'additional_t_cond' });
}
