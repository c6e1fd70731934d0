/**
 * CLIP's text tower (Radford et al. 2021, arXiv 2103.00020), Transformers' `CLIPTextModel` and `CLIPTextModelWithProjection`:
 * a pre-norm transformer with learned positions and causal attention. The text as a whole is the state of its end token,
 * which is the only one that has seen every other: `pooler_output`, or projected to the space shared with images, `text_embeds`.
 *
 * `last_hidden_state` is behind the final norm, the last of `hidden_states` before it. Whatever hidden states are asked for,
 * the pooled output is returned too.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { gather, multiHeadAttention } from '../../graph/ops.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { embedding } from '../../nn/embeddings.ts';
import { linear } from '../../nn/linear.ts';
import { layer } from '../../nn/module.ts';
import { layerNorm } from '../../nn/norms.ts';
import { intTensor, rows, type Tensor } from '../../tensor/tensor.ts';
import { defineModel, type GraphModelFamily } from '../graph-model.ts';
import { type HiddenActivation, hiddenActivation, hiddenActivations } from './activation.ts';
import { hiddenStateRequest, runLayers, textInputs } from './hidden-states.ts';
import { attentionBias, checkTokenIds } from './tokens.ts';

interface ClipConfig {
  vocabulary: number;
  positions: number;
  width: number;
  inner: number;
  layers: number;
  heads: number;
  activation: HiddenActivation;
  epsilon: number;
  endToken: number;
  projection: number;
}

export const clipTextModel = clip('CLIPTextModel');
export const clipTextModelWithProjection = clip('CLIPTextModelWithProjection');

function clip(className: 'CLIPTextModel' | 'CLIPTextModelWithProjection'): GraphModelFamily {
  return defineModel<ClipConfig>({
    className,
    holdsFloat16: true,

    parseConfig: (config) => {
      const vocabulary = config.integer('vocab_size', 49408);
      return {
        vocabulary,
        positions: config.integer('max_position_embeddings', 77),
        width: config.integer('hidden_size', 512),
        inner: config.integer('intermediate_size', 2048),
        layers: config.count('num_hidden_layers', 12),
        heads: config.count('num_attention_heads', 8),
        activation: config.choice('hidden_act', hiddenActivations, 'quick_gelu'),
        epsilon: config.positive('layer_norm_eps', 1e-5),
        endToken: config.integer('eos_token_id', 49407, { min: 0, max: vocabulary - 1 }),
        projection: config.integer('projection_dim', 512),
      };
    },

    ignoredWeights: [
      {
        names: /(^|\.)embeddings\.position_ids$/,
        reason: 'the numbers 0, 1, 2, … that Transformers saved before 4.31',
      },
      {
        names: /^(vision_model\.|visual_projection\.|logit_scale$)/,
        reason: 'the half of CLIP that sees, where a text encoder was cut from a whole model',
      },
    ],

    functions: {
      forward: {
        // `final_norm`: hidden states as they would leave the encoder if it ended there.
        inputs: () => [...textInputs, { name: 'final_norm', kind: 'other', optional: true }],
        smallestCalls: ({ endToken }) => [{ inputs: { input_ids: intTensor([endToken], [1, 1]) } }],

        prepare({ input_ids, attention_mask }, config, inputs) {
          const ids = input_ids!;
          const tokens = ids.dim(1);
          checkTokenIds(ids, config.vocabulary);
          if (tokens > config.positions) {
            throw new DejaDitError(
              'INVALID_ARGUMENT',
              `${tokens} tokens, but the model has ${config.positions} positions`,
              { path: 'input_ids' },
            );
          }
          return {
            tensors: {
              input_ids: ids,
              bias: attentionBias({ tokens, mask: attention_mask, causal: true })!,
              end_rows: endRows(ids, config.endToken),
            },
            statics: {
              ...hiddenStateRequest(inputs, config.layers),
              last_hidden_state: true,
              final_norm: inputs['final_norm'] === true,
            },
          };
        },

        build(m, { input_ids, bias, end_rows }, config, statics) {
          const { width, layers, epsilon } = config;
          // Transformers 5 saves CLIPTextModel without the prefix that everything before it has.
          const ends = ['embeddings.token_embedding.weight', 'final_layer_norm.weight'];
          const text = ends.some((name) => m.at('text_model').has(name)) ? m.at('text_model') : m;
          const finalNorm = (x: SymbolicTensor) => layerNorm(text.at('final_layer_norm'), x, epsilon);
          const outputs = runLayers({
            embeddings: embed(text.at('embeddings'), input_ids!, config),
            layers,
            layer: (x, index) => clipLayer(text.at(`encoder.layers.${index}`), x, { bias: bias!, config }),
            finalNorm,
            normIsLastState: false,
            statics,
          });
          for (const name of statics['final_norm'] ? Object.keys(outputs) : [])
            if (name.startsWith('hidden_states.')) outputs[name] = finalNorm(outputs[name]!);
          const pooled = gather(outputs.last_hidden_state!.reshape([-1, width]), end_rows!);
          return className === 'CLIPTextModel'
            ? { ...outputs, pooler_output: pooled }
            : { ...outputs, text_embeds: linear(m.at('text_projection'), pooled, config.projection, { bias: false }) };
        },
      },
    },
  });
}

/**
 * Where each sample's end token is, counted over the whole batch. Checkpoints from before Transformers 4.31 carry a wrong
 * `eos_token_id` of 2; there the end token is the one with the greatest id.
 */
function endRows(ids: Tensor, endToken: number): Tensor {
  const indices = rows(ids).map((row, sample) => {
    const end = row.indexOf(endToken === 2 ? Math.max(...row) : endToken);
    if (end < 0) {
      throw new DejaDitError(
        'INVALID_ARGUMENT',
        `row ${sample} has no end token (id ${endToken}), whose state is the pooled output`,
        { path: 'input_ids' },
      );
    }
    return sample * row.length + end;
  });
  return intTensor(indices);
}

const embed = layer((m, ids: SymbolicTensor, { vocabulary, positions, width }: ClipConfig): SymbolicTensor => {
  const table = m.at('position_embedding').weight('weight', [positions, width]);
  return embedding(m.at('token_embedding'), ids, { count: vocabulary, width }).add(table.slice(0, 0, ids.dim(1)));
});

/** What the layers of both of CLIP's towers are made from. */
export interface ClipLayers {
  width: number;
  inner: number;
  heads: number;
  activation: HiddenActivation;
  epsilon: number;
}

interface EncoderLayer {
  /** Absent where every token sees all. */
  bias?: SymbolicTensor;
  config: ClipLayers;
}

export const clipLayer = layer((m, x: SymbolicTensor, options: EncoderLayer): SymbolicTensor => {
  const { width, inner, activation, epsilon } = options.config;
  const attended = x.add(attention(m.at('self_attn'), layerNorm(m.at('layer_norm1'), x, epsilon), options));
  const hidden = linear(m.at('mlp.fc1'), layerNorm(m.at('layer_norm2'), attended, epsilon), inner);
  return attended.add(linear(m.at('mlp.fc2'), hiddenActivation(hidden, activation), width));
});

const attention = layer((m, x: SymbolicTensor, { bias, config }: EncoderLayer): SymbolicTensor => {
  const { width, heads } = config;
  const project = (name: string) => linear(m.at(name), x, width);
  return linear(
    m.at('out_proj'),
    multiHeadAttention({
      query: project('q_proj'),
      key: project('k_proj'),
      value: project('v_proj'),
      numHeads: heads,
      ...(bias ? { bias } : {}),
    }),
    width,
  );
});
