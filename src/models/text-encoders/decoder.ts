/**
 * Decoder-only language models as text encoders: Llama (arXiv 2302.13971) and its relatives, which are variations of one
 * layer: pre-norm with RMS norms, rotary positions, causal attention in which groups of query heads share keys and values
 * (arXiv 2305.13245), and a gated MLP. The families and how they differ are in `decoder-families.ts`.
 *
 * Notation: S tokens, D width, H heads, G key-value heads. Pipelines read a hidden state before the end more often than the
 * last one; what would come after it, the head included, is not computed. What models see with is in `vision/`.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { rmsNormalization } from '../../graph/ops.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { attend, type Projections, projectQkv } from '../../nn/attention/attention.ts';
import { embedding } from '../../nn/embeddings.ts';
import { linear } from '../../nn/linear.ts';
import { layer, type Module } from '../../nn/module.ts';
import { applyRotary, type Rotary } from '../../nn/rotary.ts';
import { dims, floatTensor, intTensor, rows, type Tensor } from '../../tensor/tensor.ts';
import type { State } from '../definition.ts';
import { defineModel, type GraphModelFamily } from '../graph-model.ts';
import type { InputSpec } from '../inputs.ts';
import { hiddenActivation } from './activation.ts';
import { type DecoderConfig, type DecoderFamily, type DecoderVision, parseDecoderConfig } from './decoder-config.ts';
import { hiddenStateRequest, runLayers, textInputs } from './hidden-states.ts';
import { mropeTables, queryLengths, ropeTables } from './rope.ts';
import { attentionBias, checkTokenIds, seeingTokens } from './tokens.ts';
import { imageTokenRows, picturePositions, withImageTokens } from './vision/image-tokens.ts';
import { readGrids } from './vision/patch-layout.ts';
import type { SeenPictures } from './vision/vision-tower.ts';

/** A family's model under one of its class names. */
export function decoderModel(className: string, family: DecoderFamily): GraphModelFamily {
  return defineModel<DecoderConfig>({
    className,
    holdsFloat16: true,
    parseConfig: (config) => parseDecoderConfig(config, family),
    ignoredWeights: ({ vision }) => [
      {
        names: /^(model\.|language_model\.)?lm_head\./,
        reason: 'the language head, which text encoders do not compute',
      },
      ...(vision
        ? []
        : [
            {
              names: /^(model\.)?(visual|vision_tower|vision_model|multi_modal_projector|image_newline)(\.|$)/,
              reason: 'what a vision-language model sees with; only text is read',
            },
          ]),
      {
        names: /\.rotary_emb\.inv_freq$/,
        reason: 'a table that Transformers saved before 4.32, computed from the config',
      },
    ],

    functions: {
      forward: {
        inputs: ({ vision }) => [...decoderInputs, ...(vision ? pictureInputs(vision) : [])],

        prepare({ input_ids, attention_mask: given, position_ids, ...rest }, config, inputs) {
          checkTokenIds(input_ids!, config.vocabulary);
          const tokens = input_ids!.dim(1);
          const attention_mask = given ?? maskOfPadding(input_ids!, config.padToken);
          const causal = !config.family.bidirectional;
          const bias = (window?: number) =>
            attentionBias({ tokens, mask: attention_mask, causal, window }) ??
            floatTensor(new Float32Array(tokens ** 2), [1, 1, tokens, tokens]);
          const tensors: Record<string, Tensor> = {
            input_ids: input_ids!,
            bias: bias(),
            ...ropeTables(tokens, config.rope, position_ids),
            ...(config.vision && rest.pixel_values
              ? pictureTensors({ ...rest, input_ids: input_ids!, attention_mask }, config, config.vision)
              : {}),
          };
          // Capped scores are not computed by the fused attention.
          const seeing = config.softcap === undefined ? seeingTokens(attention_mask) : undefined;
          if (seeing) tensors.seeing = seeing;
          const query_lengths = queryLengths(tokens, config.rope, position_ids);
          if (query_lengths) tensors.query_lengths = query_lengths;
          if (config.window !== undefined && config.window < tokens) tensors.sliding_bias = bias(config.window);
          const statics = { ...hiddenStateRequest(inputs, config.layers), final_norm: inputs['final_norm'] !== false };
          return { tensors, statics };
        },

        build(m, inputs, config, statics) {
          const { input_ids, bias, sliding_bias = bias, cos, sin, seeing, query_lengths: queryLengths } = inputs;
          const text = languageModel(m);
          const seen = picturesSeen(m, inputs, config);
          const embedded = embed(text, input_ids!, config);
          const places = inputs.image_token_rows;
          return runLayers({
            embeddings: seen ? withImageTokens(embedded, seen.tokens, places!) : embedded,
            passedOn: (x, index) => {
              const added = index > 0 ? seen?.deepstack[index - 1] : undefined;
              return added ? x.add(withImageTokens(x.mul(0), added, places!)) : x;
            },
            layers: config.layers,
            layer: (x, index) =>
              decoderLayer(text.at(`layers.${index}`), x, {
                bias: config.sliding[index] ? sliding_bias! : bias!,
                rotary: config.rotated[index] ? { cos: cos!, sin: sin! } : undefined,
                seeing,
                queryLengths,
                config,
              }),
            finalNorm: (x) => norm(text.at('norm'), x, config),
            normIsLastState: statics['final_norm'] === true,
            statics,
          });
        },

        smallestCalls: ({ vision }) => {
          if (!vision) return [{}];
          const { merge } = vision.tower;
          const inputs = {
            input_ids: intTensor([vision.imageToken], [1, 1]),
            image_grid_thw: intTensor([1, merge, merge], [1, 3]),
          };
          return [{ sizes: { patches: merge ** 2 }, inputs }];
        },
      },
    },
  });
}

const decoderInputs: readonly InputSpec[] = [
  ...textInputs,
  // Default: 0, 1, 2 …
  { name: 'position_ids', kind: 'int', shape: ['batch', 'tokens'], optional: true },
  // Whether the last hidden state passes the final norm, as it does in Transformers 5. Default true.
  { name: 'final_norm', kind: 'other', optional: true },
];

/** 1 for tokens and 0 for padding. */
function maskOfPadding(ids: Tensor, padToken: number | undefined): Tensor | undefined {
  if (padToken === undefined) return undefined;
  return intTensor(
    rows(ids).flatMap((row) => row.map((id) => (Number(id) === padToken ? 0 : 1))),
    ids.shape,
  );
}

/** As Transformers' processors make them. */
function pictureInputs({ tower: { channels, patch } }: DecoderVision): InputSpec[] {
  const values = patch.reduce((product, size) => product * size, channels);
  return [
    { name: 'pixel_values', kind: 'float', shape: ['patches', values], optional: true },
    { name: 'image_grid_thw', kind: 'int', shape: ['pictures', 3], optional: true },
    { name: 'mm_token_type_ids', kind: 'int', shape: ['batch', 'tokens'], optional: true },
  ];
}

/** What the graph gets of pictures. Without `mm_token_type_ids` positions are those of text throughout, as in Transformers. */
function pictureTensors(
  { input_ids, attention_mask: mask, pixel_values, image_grid_thw, mm_token_type_ids: types }: PictureTensors,
  { rope }: DecoderConfig,
  { tower, imageToken, axes }: DecoderVision,
): Record<string, Tensor> {
  const { merge } = tower;
  if (!image_grid_thw)
    throw new DejaDitError('INVALID_ARGUMENT', 'missing, it goes with pixel_values', { path: 'image_grid_thw' });
  const patches = pixel_values!.dim(0);
  const grids = readGrids(image_grid_thw, { patches, merge });
  return {
    pixel_values: pixel_values!,
    image_token_rows: imageTokenRows(input_ids, { imageToken, tokens: patches / merge ** 2 }),
    ...tower.tensors(grids),
    ...(types ? mropeTables(picturePositions({ types, mask, grids, merge }), { rope, axes }) : {}),
  };
}

interface PictureTensors {
  input_ids: Tensor;
  attention_mask: Tensor | undefined;
  pixel_values?: Tensor;
  image_grid_thw?: Tensor;
  mm_token_type_ids?: Tensor;
}

/** What the model sees of the pictures that come with a text, if any do. */
function picturesSeen(m: Module, inputs: State, { vision }: DecoderConfig): SeenPictures | undefined {
  if (!vision || !inputs.pixel_values) return undefined;
  const places = ['model.visual', 'visual'].map((path) => m.at(path));
  // By either of two tensors, so that one that is missing is named as the others are.
  const tower = places.find((at) => ['patch_embed.proj', 'blocks.0.norm1'].some((part) => at.at(part).has('weight')));
  return vision.tower.emit(tower ?? m.at('visual'), inputs);
}

/** Where the language model sits in a checkpoint, which depends on the class and the version of Transformers that saved it. */
function languageModel(m: Module): Module {
  const places = [
    'model',
    'model.language_model',
    'language_model.model',
    'language_model',
    'encoder',
    'model.encoder',
  ];
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
  /** Absent from layers that know no positions. */
  rotary: Rotary | undefined;
  /** [B, S, 1], 0 for tokens that see none; absent if all see some. */
  seeing: SymbolicTensor | undefined;
  /** [1 or B, S, 1]: factors on queries; absent if all are 1. */
  queryLengths: SymbolicTensor | undefined;
  config: DecoderConfig;
}

const decoderLayer = layer((m, x: SymbolicTensor, options: DecoderLayer): SymbolicTensor => {
  const { config } = options;
  const normed = (name: string, value: SymbolicTensor) => norm(m.at(name), value, config);
  const [before, behind] = config.family.attentionNorms ?? ['input_layernorm', 'post_attention_layernorm'];
  const attended = attention(m.at('self_attn'), normed(before, x), options);
  if (config.family.gemma) {
    const middle = x.add(normed(behind, attended));
    const out = mlp(m.at('mlp'), normed('pre_feedforward_layernorm', middle), config);
    return middle.add(normed('post_feedforward_layernorm', out));
  }
  const middle = x.add(attended);
  return middle.add(mlp(m.at('mlp'), normed(behind, middle), config));
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

const attention = layer(
  (m, x: SymbolicTensor, { bias, rotary, seeing, queryLengths, config }: DecoderLayer): SymbolicTensor => {
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
      rotary ? applyRotary(part, rotary, count, family.interleavedRope ?? false) : part;
    const options: GroupedAttention = {
      query: rotated(queryLengths ? query.mul(queryLengths) : query, heads),
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
  },
);

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
