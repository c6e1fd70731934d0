/** What the decoder-only language models have in common in their configs, and what each family leaves to its defaults. */
import { DejaDitError } from '../../errors/errors.ts';
import { ConfigReader } from '../config-reader.ts';
import { type HiddenActivation, hiddenActivations } from './activation.ts';
import { type MropeOrder, mropeAxes, type Rope, type RopeDefaults, readRope } from './rope.ts';
import type { VisionTower } from './vision/vision-tower.ts';

/** Which layers have a sliding window; `layer_types` in a config overrides all but 'all'. */
export type SlidingLayers = 'all' | 'even' | 'from max_window_layers' | 'without positions';

/** A family: how it differs from Llama, and the values that Transformers assumes for absent config fields. */
export interface DecoderFamily {
  /** The bare model, and the forms with a head that pipelines load as text encoders; the head is not computed. */
  readonly classNames: readonly string[];
  readonly defaults: {
    vocabulary: number;
    width: number;
    inner: number;
    layers: number;
    heads: number;
    keyValueHeads?: number;
    /** Default: width / heads. */
    headDim?: number;
    epsilon: number;
    slidingWindow?: number;
  };
  readonly rope?: Partial<RopeDefaults>;
  /** Pairs (2i, 2i+1) are rotated instead of (i, i + d/2). */
  readonly interleavedRope?: boolean;
  /** Default: no layer. */
  readonly slidingLayers?: SlidingLayers;
  /** Whether `no_rope_layers` or `no_rope_layer_interval` in the config names layers whose queries and keys are not rotated. */
  readonly layersWithoutPositions?: boolean;
  /** Queries and keys are normalised per head. */
  readonly queryKeyNorm?: boolean;
  /** Biases of queries, keys and values: always, or as `attention_bias` in the config says, which has this default. Default: none. */
  readonly projectionBias?: true | { readonly default: boolean };
  /** Whether the output projection of attention has a bias where these have. */
  readonly outputBias?: boolean;
  /** Whether `mlp_bias` in the config gives the MLP biases. */
  readonly mlpBias?: boolean;
  /** `gate_proj` and `up_proj` are one matrix. */
  readonly fusedGate?: boolean;
  /** Whether tokens see what comes after them too, as in the encoder of a T5. */
  readonly bidirectional?: boolean;
  /** Names of the norms around attention. Default: `input_layernorm` and `post_attention_layernorm`. */
  readonly attentionNorms?: readonly [before: string, behind: string];
  /** What checkpoints may see with, read from their `vision_config`, and how positions of pictures are laid out. */
  readonly vision?: { readonly tower: (config: ConfigReader) => VisionTower; readonly positions: MropeOrder };
  /** Gemma's ways: embeddings times √width, norm weights stored minus 1, norms also behind attention and MLP. */
  readonly gemma?: boolean;
}

export interface DecoderConfig {
  family: DecoderFamily;
  vocabulary: number;
  width: number;
  inner: number;
  layers: number;
  heads: number;
  keyValueHeads: number;
  headDim: number;
  activation: HiddenActivation;
  projectionBias: boolean;
  outputBias: boolean;
  mlpBias: boolean;
  epsilon: number;
  rope: Rope;
  /** Per layer: whether queries and keys are rotated. */
  rotated: readonly boolean[];
  /** Width of the window in the layers that have one. */
  window: number | undefined;
  /** Per layer: whether it attends within the window only. */
  sliding: readonly boolean[];
  /** Factor on attention scores. */
  scale: number;
  /** Scores are bounded to ±softcap by a tanh (Gemma 2). */
  softcap: number | undefined;
  /** The token of padding, which is hidden where no mask says otherwise. */
  padToken: number | undefined;
  /** Of models that see pictures. */
  vision: DecoderVision | undefined;
}

export interface DecoderVision {
  tower: VisionTower;
  /** The token that stands for one of a picture's. */
  imageToken: number;
  /** Which of time, row and column every rotated pair turns with. */
  axes: Uint8Array;
}

/** Reads a language model's config, or the `text_config` within that of a vision-language model. */
export function parseDecoderConfig(outer: ConfigReader, family: DecoderFamily): DecoderConfig {
  const nested = outer.json.text_config;
  const isNested = typeof nested === 'object' && nested !== null;
  const config = isNested ? new ConfigReader(nested as Record<string, unknown>, outer.origin) : outer;
  const { defaults, gemma = false } = family;

  // Also null in configs, which means false.
  if (config.boolean('use_bidirectional_attention', false)) config.requires('use_bidirectional_attention', false);
  config.rejectUnsupported();

  const width = config.integer('hidden_size', defaults.width);
  const layers = config.count('num_hidden_layers', defaults.layers);
  const heads = config.count('num_attention_heads', defaults.heads);
  const headDim = config.count('head_dim', defaults.headDim ?? width / heads);
  const keyValueHeads = config.count('num_key_value_heads', defaults.keyValueHeads ?? heads);
  if (heads % keyValueHeads !== 0) {
    throw new DejaDitError('INVALID_CONFIG', `${heads} heads cannot share ${keyValueHeads} num_key_value_heads`, {
      path: config.origin,
    });
  }
  const window = slidingWindow(config, family);
  const projectionBias = projectionBiasOf(config, family);
  const rope = readRope(config, headDim, { theta: 10000, rotaryFactor: 1, ...family.rope });
  const rotated = rotatedLayers(config, family, layers);
  return {
    family,
    vocabulary: config.integer('vocab_size', defaults.vocabulary),
    width,
    inner: config.integer('intermediate_size', defaults.inner),
    layers,
    heads,
    keyValueHeads,
    headDim,
    activation: gemma
      ? config.choice('hidden_activation', hiddenActivations, 'gelu_pytorch_tanh')
      : config.choice('hidden_act', hiddenActivations, 'silu'),
    projectionBias,
    outputBias: projectionBias && family.outputBias === true,
    mlpBias: family.mlpBias === true && config.boolean('mlp_bias', false),
    epsilon: config.positive('rms_norm_eps', defaults.epsilon),
    rope,
    rotated,
    window,
    sliding: window === undefined ? Array<boolean>(layers).fill(false) : slidingLayers(config, family, rotated),
    scale: (gemma ? config.positive('query_pre_attn_scalar', 256) : headDim) ** -0.5,
    softcap: gemma ? softcapOf(config) : undefined,
    padToken: family.bidirectional
      ? config.nullable('pad_token_id', (name) => config.integer(name, 0, { min: 0 }))
      : undefined,
    vision: family.vision && visionOf(outer, config, { frequencies: rope.frequencies.length, width, ...family.vision }),
  };
}

type VisionRequest = NonNullable<DecoderFamily['vision']> & {
  /** Of rotated pairs. */
  frequencies: number;
  /** Of the text. */
  width: number;
};

/** What it sees with, if the config has it. */
function visionOf(
  outer: ConfigReader,
  text: ConfigReader,
  { frequencies, width, tower: read, positions }: VisionRequest,
): DecoderVision | undefined {
  const { vision_config: nested } = outer.json;
  if (typeof nested !== 'object' || nested === null) return undefined;
  const tower = read(new ConfigReader(nested as Record<string, unknown>, outer.origin));
  if (tower.outWidth !== width)
    throw new DejaDitError('INVALID_CONFIG', `pictures of width ${tower.outWidth} in a text of width ${width}`, {
      path: outer.origin,
    });
  const imageToken = outer.integer('image_token_id', 151655, { min: 0 });
  return { tower, imageToken, axes: mropeAxes(text, frequencies, positions) };
}

/** A `null` switches a default off, so it is not the same as an absent field. */
function slidingWindow(config: ConfigReader, { slidingLayers: rule, defaults }: DecoderFamily): number | undefined {
  if (
    (rule === 'from max_window_layers' || rule === 'without positions') &&
    !config.boolean('use_sliding_window', false)
  )
    return undefined;
  if (rule === undefined) return undefined;
  if (config.json.sliding_window === undefined) return defaults.slidingWindow;
  return config.nullable('sliding_window', (name) => config.integer(name));
}

function projectionBiasOf(config: ConfigReader, { projectionBias: bias }: DecoderFamily): boolean {
  return typeof bias === 'object' ? config.boolean('attention_bias', bias.default) : bias === true;
}

function softcapOf(config: ConfigReader): number | undefined {
  return config.json.attn_logit_softcapping === null ? undefined : config.positive('attn_logit_softcapping', 50);
}

/** @throws DejaDitError if the config speaks of another number of layers */
function rotatedLayers(config: ConfigReader, family: DecoderFamily, layers: number): boolean[] {
  if (!family.layersWithoutPositions) return Array<boolean>(layers).fill(true);
  const given = config.nullable('no_rope_layers', (name) => config.numbers(name));
  if (given && given.length < layers) {
    const message = `'no_rope_layers' has ${given.length} entries for ${layers} layers`;
    throw new DejaDitError('INVALID_CONFIG', message, { path: config.origin });
  }
  const interval = config.count('no_rope_layer_interval', 4);
  return Array.from({ length: layers }, (_, i) => (given ? given[i] !== 0 : (i + 1) % interval !== 0));
}

function slidingLayers(
  config: ConfigReader,
  { slidingLayers: rule }: DecoderFamily,
  rotated: readonly boolean[],
): boolean[] {
  const layers = rotated.length;
  const types = config.nullable('layer_types', (name) => config.strings(name));
  if (types && rule !== 'all') {
    const unknown = types.find((type) => type !== 'full_attention' && type !== 'sliding_attention');
    if (unknown === undefined && types.length === layers) return types.map((type) => type === 'sliding_attention');
    const problem = unknown === undefined ? `has ${types.length} entries for ${layers} layers` : `has '${unknown}'`;
    throw new DejaDitError(
      'INVALID_CONFIG',
      `'layer_types' ${problem}, expected full_attention or sliding_attention per layer`,
      { path: config.origin },
    );
  }
  if (rule === 'without positions') return rotated.map((isRotated) => !isRotated);
  const first = rule === 'from max_window_layers' ? config.integer('max_window_layers', 28, { min: 0 }) : 0;
  return Array.from({ length: layers }, (_, i) => i >= first && (rule !== 'even' || i % 2 === 0));
}
