/**
 * Decoder-only language models as text encoders: Llama (arXiv 2302.13971) and its relatives, which are variations of one
 * layer: pre-norm with RMS norms, rotary positions, causal attention in which groups of query heads share keys and values
 * (arXiv 2305.13245), and a gated MLP. The families and how they differ are in `decoder-families.ts`.
 *
 * Notation: S tokens, D width, H heads, G key-value heads. Pipelines read a hidden state before the end more often than the
 * last one; what would come after it, the head included, is not computed. Text only: image inputs are not read.
 */
import { rmsNormalization } from '../../graph/ops.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { attend, type Projections, projectQkv } from '../../nn/attention/attention.ts';
import { embedding } from '../../nn/embeddings.ts';
import { linear } from '../../nn/linear.ts';
import { layer, type Module } from '../../nn/module.ts';
import { applyRotary, type Rotary } from '../../nn/rotary.ts';
import { dims, type Tensor } from '../../tensor/tensor.ts';
import { defineModel, type GraphModelFamily } from '../graph-model.ts';
import { hiddenActivation } from './activation.ts';
import { type DecoderConfig, type DecoderFamily, parseDecoderConfig } from './decoder-config.ts';
import { hiddenStateRequest, runLayers, textInputs } from './hidden-states.ts';
import { ropeTables } from './rope.ts';
import { attentionBias, checkTokenIds, seeingTokens } from './tokens.ts';

/** A family's model under one of its class names. */
export function decoderModel(className: string, family: DecoderFamily): GraphModelFamily {
  return defineModel<DecoderConfig>({
    className,
    holdsFloat16: true,
    parseConfig: (config) => parseDecoderConfig(config, family),
    ignoredWeights: [
      {
        names: /^(model\.|language_model\.)?lm_head\./,
        reason: 'the language head, which text encoders do not compute',
      },
      {
        names: /^(model\.)?(visual|vision_tower|vision_model|multi_modal_projector|image_newline)(\.|$)/,
        reason: 'what a vision-language model sees with; only text is read',
      },
      {
        names: /\.rotary_emb\.inv_freq$/,
        reason: 'a table that Transformers saved before 4.32, computed from the config',
      },
    ],

    functions: {
      forward: {
        inputs: () => textInputs,

        prepare({ input_ids, attention_mask }, config, inputs) {
          checkTokenIds(input_ids!, config.vocabulary);
          const tokens = input_ids!.dim(1);
          const bias = (window?: number) => attentionBias({ tokens, mask: attention_mask, causal: true, window })!;
          const { cos, sin } = ropeTables(tokens, config.frequencies);
          const tensors: Record<string, Tensor> = { input_ids: input_ids!, bias: bias(), cos, sin };
          // Capped scores are not computed by the fused attention.
          const seeing = config.softcap === undefined ? seeingTokens(attention_mask) : undefined;
          if (seeing) tensors.seeing = seeing;
          if (config.window !== undefined && config.window < tokens) tensors.sliding_bias = bias(config.window);
          return { tensors, statics: hiddenStateRequest(inputs, config.layers) };
        },

        build(m, inputs, config, statics) {
          const { input_ids, bias, sliding_bias = bias, cos, sin, seeing } = inputs;
          const text = languageModel(m);
          return runLayers({
            embeddings: embed(text, input_ids!, config),
            layers: config.layers,
            layer: (x, index) =>
              decoderLayer(text.at(`layers.${index}`), x, {
                bias: config.sliding[index] ? sliding_bias! : bias!,
                rotary: { cos: cos!, sin: sin! },
                seeing,
                config,
              }),
            finalNorm: (x) => norm(text.at('norm'), x, config),
            normIsLastState: true,
            statics,
          });
        },
      },
    },
  });
}

/** Where the language model sits in a checkpoint, which depends on the class and the version of Transformers that saved it. */
function languageModel(m: Module): Module {
  const places = ['model', 'model.language_model', 'language_model.model', 'language_model'];
  const ends = ['embed_tokens.weight', 'norm.weight'];
  const place = places.find((path) => ends.some((name) => m.at(path).has(name)));
  return place === undefined ? m : m.at(place);
}

function embed(m: Module, ids: SymbolicTensor, { vocabulary, width, family }: DecoderConfig): SymbolicTensor {
  const embedded = embedding(m.at('embed_tokens'), ids, { count: vocabulary, width });
  return family.gemma ? embedded.mul(Math.sqrt(width)) : embedded;
}

const norm = layer((m, x: SymbolicTensor, { epsilon, family }: DecoderConfig): SymbolicTensor => {
  const weight = m.weight('weight', [x.dim(-1)]);
  return rmsNormalization(x, { epsilon, scale: family.gemma ? weight.add(1) : weight });
});

interface DecoderLayer {
  /** [1 or B, 1, S, S]. */
  bias: SymbolicTensor;
  rotary: Rotary;
  /** [B, S, 1], 0 for tokens that see none; absent if all see some. */
  seeing: SymbolicTensor | undefined;
  config: DecoderConfig;
}

const decoderLayer = layer((m, x: SymbolicTensor, options: DecoderLayer): SymbolicTensor => {
  const { config } = options;
  const normed = (name: string, value: SymbolicTensor) => norm(m.at(name), value, config);
  const attended = attention(m.at('self_attn'), normed('input_layernorm', x), options);
  if (config.family.gemma) {
    const middle = x.add(normed('post_attention_layernorm', attended));
    const out = mlp(m.at('mlp'), normed('pre_feedforward_layernorm', middle), config);
    return middle.add(normed('post_feedforward_layernorm', out));
  }
  const middle = x.add(attended);
  return middle.add(mlp(m.at('mlp'), normed('post_attention_layernorm', middle), config));
});

const mlp = layer((m, x: SymbolicTensor, config: DecoderConfig): SymbolicTensor => {
  const { inner, width, activation, family } = config;
  const bias = { bias: config.mlpBias };
  const [gate, up] = family.fusedGate
    ? linear(m.at('gate_up_proj'), x, 2 * inner, bias).chunk(2)
    : [linear(m.at('gate_proj'), x, inner, bias), linear(m.at('up_proj'), x, inner, bias)];
  return linear(m.at('down_proj'), hiddenActivation(gate, activation).mul(up), width, bias);
});

const projections = { query: 'q_proj', key: 'k_proj', value: 'v_proj', queryNorm: 'q_norm', keyNorm: 'k_norm' };

const attention = layer((m, x: SymbolicTensor, { bias, rotary, seeing, config }: DecoderLayer): SymbolicTensor => {
  const { heads, keyValueHeads, headDim, width, epsilon, family, scale, softcap } = config;
  const { query, key, value } = projectQkv(m, x, {
    heads,
    keyValueHeads,
    inner: heads * headDim,
    qkNorm: family.queryKeyNorm ? { kind: 'rms_norm', epsilon } : undefined,
    projectionBias: config.projectionBias,
    names: projections,
  });
  const rotated = (part: SymbolicTensor, count: number) =>
    applyRotary(part, rotary, count, family.interleavedRope ?? false);
  const options: GroupedAttention = {
    query: rotated(query, heads),
    key: rotated(key, keyValueHeads),
    value,
    heads,
    keyValueHeads,
    scale,
    bias,
  };
  const attended = softcap === undefined ? attend(options) : attendCapped(options, softcap);
  const seen = seeing ? attended.mul(seeing) : attended;
  return linear(m.at('o_proj'), seen, width, { bias: config.outputBias });
});

/** Queries are [B, S, H·headDim], keys and values [B, S, G·headDim]. */
interface GroupedAttention extends Projections {
  heads: number;
  keyValueHeads: number;
  scale: number;
  bias: SymbolicTensor;
}

/** Attention with scores bounded by softcap·tanh(score / softcap), which the fused operator does not have. */
function attendCapped(options: GroupedAttention, softcap: number): SymbolicTensor {
  const { query, key, value, heads, keyValueHeads, scale, bias } = options;
  const [batch, tokens] = dims(query, 3);
  // [B, G, H / G, S, headDim] for queries; keys and values have 1 in place of H / G and are broadcast.
  const grouped = (x: SymbolicTensor, groupSize: number) =>
    x.reshape([batch, tokens, keyValueHeads, groupSize, -1]).transpose([0, 2, 3, 1, 4]);
  const scores = grouped(query, heads / keyValueHeads).matmul(grouped(key, 1).transpose([0, 1, 2, 4, 3]));
  const capped = scores
    .mul(scale / softcap)
    .tanh()
    .mul(softcap);
  const weights = capped.add(bias.unsqueeze(1)).softmax();
  return weights.matmul(grouped(value, 1)).transpose([0, 3, 1, 2, 4]).reshape(query.shape);
}
