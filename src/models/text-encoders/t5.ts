/**
 * T5's encoder (Raffel et al. 2020, arXiv 1910.10683), Transformers' `T5EncoderModel`, and its multilingual form UMT5
 * (Chung et al. 2023, arXiv 2304.09151), `UMT5EncoderModel`: a pre-norm transformer without biases, with RMS norms, unscaled
 * attention, and no positions but a learned bias on the attention scores per head and distance.
 * T5's layers share the first one's bias; every layer of UMT5 has its own.
 */
import { multiHeadAttention } from '../../graph/ops.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { embedding } from '../../nn/embeddings.ts';
import { linear } from '../../nn/linear.ts';
import { layer, type Module } from '../../nn/module.ts';
import { rmsNorm } from '../../nn/norms.ts';
import type { ConfigReader } from '../config-reader.ts';
import { defineModel, type GraphModelFamily } from '../graph-model.ts';
import { type HiddenActivation, hiddenActivation } from './activation.ts';
import { hiddenStateRequest, runLayers, textInputs } from './hidden-states.ts';
import { type RelativeBuckets, relativeBuckets } from './relative-buckets.ts';
import { attentionBias, checkTokenIds } from './tokens.ts';

interface T5Config {
  vocabulary: number;
  width: number;
  inner: number;
  layers: number;
  heads: number;
  headDim: number;
  gated: boolean;
  activation: HiddenActivation;
  epsilon: number;
  distances: RelativeBuckets;
  /** UMT5. */
  biasPerLayer: boolean;
}

const feedForwards = ['relu', 'gelu', 'silu', 'gated-gelu', 'gated-silu'] as const;

/** Of every layer. */
const noBias = { bias: false };

interface Defaults {
  vocabulary: number;
  inner: number;
  layers: number;
  heads: number;
  feedForward: (typeof feedForwards)[number];
}

const t5Defaults: Defaults = { vocabulary: 32128, inner: 2048, layers: 6, heads: 8, feedForward: 'relu' };
const umt5Defaults: Defaults = { vocabulary: 250112, inner: 1024, layers: 8, heads: 6, feedForward: 'gated-gelu' };

export const t5EncoderModel = t5('T5EncoderModel');
export const umt5EncoderModel = t5('UMT5EncoderModel');

function parseConfig(config: ConfigReader, defaults: Defaults): Omit<T5Config, 'biasPerLayer'> {
  const feedForward = config.choice('feed_forward_proj', feedForwards, defaults.feedForward);
  const [activation, gate] = feedForward.split('-').reverse() as [HiddenActivation, string?];
  return {
    vocabulary: config.integer('vocab_size', defaults.vocabulary),
    width: config.integer('d_model', 512),
    inner: config.integer('d_ff', defaults.inner),
    layers: config.count('num_layers', defaults.layers),
    heads: config.count('num_heads', defaults.heads),
    headDim: config.count('d_kv', 64),
    gated: gate !== undefined,
    // This one name means the tanh approximation: the checkpoints that have it were trained with that.
    activation: feedForward === 'gated-gelu' ? 'gelu_new' : activation,
    epsilon: config.positive('layer_norm_epsilon', 1e-6),
    distances: {
      buckets: config.integer('relative_attention_num_buckets', 32, { min: 4 }),
      maxDistance: config.integer('relative_attention_max_distance', 128),
    },
  };
}

function t5(className: 'T5EncoderModel' | 'UMT5EncoderModel'): GraphModelFamily {
  const isUmt5 = className === 'UMT5EncoderModel';
  return defineModel<T5Config>({
    className,
    holdsFloat16: true,

    parseConfig: (config) => ({
      ...parseConfig(config, isUmt5 ? umt5Defaults : t5Defaults),
      biasPerLayer: isUmt5,
    }),

    ignoredWeights: [
      { names: /^(decoder|lm_head)\./, reason: 'the half of T5 that writes text' },
      {
        names: /^(shared|encoder\.embed_tokens)\.weight$/,
        reason: 'the token table, which may be saved under both names',
      },
    ],

    functions: {
      forward: {
        inputs: () => textInputs,

        prepare({ input_ids, attention_mask }, config, inputs) {
          checkTokenIds(input_ids!, config.vocabulary);
          const tokens = input_ids!.dim(1);
          const mask = attentionBias({ tokens, mask: attention_mask, causal: false });
          return {
            tensors: {
              input_ids: input_ids!,
              distances: relativeBuckets(tokens, config.distances),
              ...(mask ? { mask } : {}),
            },
            statics: hiddenStateRequest(inputs, config.layers),
          };
        },

        build(m, { input_ids, distances, mask }, config, statics) {
          const { vocabulary, width, layers, epsilon, biasPerLayer } = config;
          const encoder = m.at('encoder');
          // One tensor that old and new checkpoints name differently; some hold it twice.
          const isEncoders = !m.has('shared.weight') && encoder.has('embed_tokens.weight');
          const table = isEncoders ? encoder.at('embed_tokens') : m.at('shared');
          const block = (index: number) => encoder.at(`block.${index}`);
          const biasOf = (index: number) => {
            const bias = positionBias(block(index).at('layer.0.SelfAttention'), distances!, config);
            return mask ? bias.add(mask) : bias;
          };
          const shared = biasPerLayer ? undefined : biasOf(0);
          return runLayers({
            embeddings: embedding(table, input_ids!, { count: vocabulary, width }),
            layers,
            layer: (x, index) => encoderBlock(block(index), x, { bias: shared ?? biasOf(index), config }),
            finalNorm: (x) => rmsNorm(encoder.at('final_layer_norm'), x, epsilon),
            normIsLastState: true,
            statics,
          });
        },
      },
    },
  });
}

/** The bias of every head for the distance between query and key [1, heads, S, S], from buckets [S, S]. */
const positionBias = layer((m, distances: SymbolicTensor, { heads, distances: { buckets } }: T5Config) => {
  return embedding(m.at('relative_attention_bias'), distances, { count: buckets, width: heads })
    .transpose([2, 0, 1])
    .unsqueeze(0);
});

interface EncoderBlock {
  bias: SymbolicTensor;
  config: T5Config;
}

const encoderBlock = layer((m, x: SymbolicTensor, { bias, config }: EncoderBlock): SymbolicTensor => {
  const [attentionPart, feedForwardPart] = [m.at('layer.0'), m.at('layer.1')];
  const norm = (part: Module, value: SymbolicTensor) => rmsNorm(part.at('layer_norm'), value, config.epsilon);
  const attended = x.add(attention(attentionPart.at('SelfAttention'), norm(attentionPart, x), { bias, config }));
  return attended.add(feedForward(feedForwardPart.at('DenseReluDense'), norm(feedForwardPart, attended), config));
});

const attention = layer((m, x: SymbolicTensor, { bias, config }: EncoderBlock): SymbolicTensor => {
  const { heads, headDim, width } = config;
  const project = (name: string) => linear(m.at(name), x, heads * headDim, noBias);
  const [query, key, value] = [project('q'), project('k'), project('v')];
  return linear(m.at('o'), multiHeadAttention({ query, key, value, numHeads: heads, scale: 1, bias }), width, noBias);
});

const feedForward = layer((m, x: SymbolicTensor, config: T5Config): SymbolicTensor => {
  const { inner, width, gated, activation } = config;
  const hidden = gated
    ? hiddenActivation(linear(m.at('wi_0'), x, inner, noBias), activation).mul(linear(m.at('wi_1'), x, inner, noBias))
    : hiddenActivation(linear(m.at('wi'), x, inner, noBias), activation);
  return linear(m.at('wo'), hidden, width, noBias);
});
