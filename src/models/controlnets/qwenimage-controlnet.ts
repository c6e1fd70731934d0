/**
 * Qwen-Image's ControlNet, Diffusers' `QwenImageControlNetModel`: some of its blocks over the latents and a picture, each with a projection
 * whose result is added in the transformer. One for inpainting sees a mask too.
 */
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { attentionInputs } from '../../nn/attention/attention-inputs.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../nn/embeddings.ts';
import { linear } from '../../nn/linear.ts';
import { rmsNorm } from '../../nn/norms.ts';
import { dims } from '../../tensor/tensor.ts';
import { defineModel } from '../graph-model.ts';
import { imageShapes } from '../transformers/qwenimage/image-shapes.ts';
import { type QwenImageState, qwenImageAttention, qwenImageBlock } from '../transformers/qwenimage/qwenimage-blocks.ts';
import { readScale, scaled } from './scale.ts';
import { nameTokens, tokensOfBlocks } from './tokens.ts';

interface QwenImageControlNetConfig {
  inChannels: number;
  /** Of the picture, which may bring a mask. */
  conditionChannels: number;
  blocks: number;
  heads: number;
  width: number;
  textWidth: number;
  axesDim: readonly number[];
}

export const qwenImageControlNet = defineModel<QwenImageControlNetConfig>({
  className: 'QwenImageControlNetModel',

  parseConfig(config) {
    const heads = config.count('num_attention_heads', 24);
    const inChannels = config.integer('in_channels', 64);
    return {
      inChannels,
      conditionChannels: inChannels + config.integer('extra_condition_channels', 0, { min: 0 }),
      blocks: config.layers('num_layers', 60),
      heads,
      width: heads * config.count('attention_head_dim', 128),
      textWidth: config.integer('joint_attention_dim', 3584),
      axesDim: config.counts('axes_dims_rope', [16, 56, 56]),
    };
  },

  tokens: tokensOfBlocks,

  functions: {
    /** Outputs: `controlnet_block_samples.<i>` [B, image tokens, width]. */
    forward: {
      inputs: ({ inChannels, conditionChannels, textWidth }) => [
        { name: 'hidden_states', kind: 'float', shape: ['batch', 'image_tokens', inChannels] },
        { name: 'controlnet_cond', kind: 'float', shape: ['batch', 'image_tokens', conditionChannels] },
        { name: 'conditioning_scale', kind: 'other', optional: true },
        { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
        { name: 'encoder_hidden_states_mask', kind: 'bool', shape: ['batch', 'text_tokens'], optional: true },
        { name: 'timestep', kind: 'float', shape: ['batch'] },
        { name: 'img_shapes', kind: 'other' },
      ],

      prepare(tensors, { axesDim }, inputs) {
        const { encoder_hidden_states_mask: _, ...others } = tensors;
        const [batch, tokens] = dims(tensors.hidden_states!, 3);
        const images = imageShapes(inputs.img_shapes, { batch, tokens });
        return {
          tensors: {
            ...others,
            scale: readScale(inputs),
            ...qwenImageAttention(tensors, images, { axesDim, layered: false }),
          },
        };
      },

      smallestCalls: () => [{ inputs: { img_shapes: [[1, 1, 1]] } }],

      build(m, inputs, config) {
        const { width, blocks } = config;
        const picture = linear(m.at('controlnet_x_embedder'), inputs.controlnet_cond!, width);
        const text = rmsNorm(m.at('txt_norm'), inputs.encoder_hidden_states!, 1e-6);
        const times = sinusoidalEmbedding(inputs.timestep!, { dim: 256, scale: 1000 });
        let state: QwenImageState = {
          hidden_states: linear(m.at('img_in'), inputs.hidden_states!, width).add(picture),
          encoder_hidden_states: linear(m.at('txt_in'), text, width),
          temb: timestepEmbedding(m.at('time_text_embed.timestep_embedder'), times, width),
          ...attentionInputs(inputs),
        };
        nameTokens(m, state);
        const samples: SymbolicTensor[] = [];
        for (let index = 0; index < blocks; index++) {
          state = { ...state, ...qwenImageBlock(m.at(`transformer_blocks.${index}`), state, config) };
          samples.push(linear(m.at(`controlnet_blocks.${index}`), state.hidden_states, width));
        }
        return scaled({ controlnet_block_samples: samples }, inputs.scale!);
      },
    },
  },
});
