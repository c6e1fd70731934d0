/**
 * CLIP's vision tower (Radford et al. 2021, arXiv 2103.00020), Transformers' `CLIPVisionModel` and `CLIPVisionModelWithProjection`: a
 * picture's patches behind a class token, through the layers that the text tower has too, with nothing masked.
 *
 * Pipelines read hidden states of the patches; the class token's projection is not computed.
 */
import { concat } from '../../graph/ops.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { layer } from '../../nn/module.ts';
import { layerNorm } from '../../nn/norms.ts';
import { patchConvolution } from '../../nn/patches.ts';
import { defineModel, type GraphModelFamily } from '../graph-model.ts';
import { hiddenActivations } from './activation.ts';
import { type ClipLayers, clipLayer } from './clip.ts';
import { hiddenStateRequest, runLayers } from './hidden-states.ts';

interface ClipVisionConfig extends ClipLayers {
  layers: number;
  channels: number;
  imageSize: number;
  patch: number;
}

export const clipVisionModel = clipVision('CLIPVisionModel');
export const clipVisionModelWithProjection = clipVision('CLIPVisionModelWithProjection');

function clipVision(className: string): GraphModelFamily {
  return defineModel<ClipVisionConfig>({
    className,

    parseConfig: (config) => ({
      width: config.integer('hidden_size', 768),
      inner: config.integer('intermediate_size', 3072),
      layers: config.count('num_hidden_layers', 12),
      heads: config.count('num_attention_heads', 12),
      activation: config.choice('hidden_act', hiddenActivations, 'quick_gelu'),
      epsilon: config.positive('layer_norm_eps', 1e-5),
      channels: config.count('num_channels', 3),
      imageSize: config.integer('image_size', 224),
      patch: config.count('patch_size', 32),
    }),

    ignoredWeights: [
      {
        names: /(^|\.)embeddings\.position_ids$/,
        reason: 'the numbers 0, 1, 2, … that Transformers saved before 4.31',
      },
      { names: /^(vision_model\.)?post_layernorm\.|^visual_projection\./, reason: 'the class token as one vector' },
    ],

    functions: {
      forward: {
        inputs: ({ channels, imageSize }) => [
          { name: 'pixel_values', kind: 'float', shape: ['batch', channels, imageSize, imageSize] },
          { name: 'output_hidden_states', kind: 'other', optional: true },
        ],

        prepare({ pixel_values }, { layers }, inputs) {
          return { tensors: { pixel_values: pixel_values! }, statics: hiddenStateRequest(inputs, layers) };
        },

        build(m, { pixel_values }, config, statics) {
          // Transformers 5 saves without the prefix that everything before it has.
          const ends = ['embeddings.class_embedding', 'pre_layrnorm.weight'];
          const vision = ends.some((name) => m.at('vision_model').has(name)) ? m.at('vision_model') : m;
          const { epsilon } = config;
          return runLayers({
            embeddings: layerNorm(
              vision.at('pre_layrnorm'),
              embed(vision.at('embeddings'), pixel_values!, config),
              epsilon,
            ),
            layers: config.layers,
            layer: (x, index) => clipLayer(vision.at(`encoder.layers.${index}`), x, { config }),
            finalNorm: (x) => x,
            normIsLastState: false,
            statics,
          });
        },
      },
    },
  });
}

const embed = layer((m, pixels: SymbolicTensor, { width, patch, imageSize }: ClipVisionConfig): SymbolicTensor => {
  const tokens = (imageSize / patch) ** 2;
  const patches = patchConvolution(m.at('patch_embedding'), pixels, { patch: [patch, patch], width, bias: false });
  const batch = pixels.dim(0);
  const first = m.weight('class_embedding', [width]).reshape([1, 1, width]).expand([batch, 1, width]);
  return concat([first, patches], 1).add(m.at('position_embedding').weight('weight', [tokens + 1, width]));
});
