/**
 * Rotary positions of language models: what a config's `rope_parameters` stand for, and tables of them.
 * Everything is rounded to float32 step by step, as Transformers computes it.
 */
import { DejaDitError } from '../../errors/errors.ts';
import type { RotaryTables } from '../../nn/rotary.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { ConfigReader } from '../config-reader.ts';

const { fround } = Math;

export interface RopeDefaults {
  theta: number;
  /** Share of every head that is rotated. */
  rotaryFactor: number;
}

/** Rotary positions as a config has them. */
export interface Rope {
  /** Angle per position of every rotated pair [rotated / 2]. */
  frequencies: Float32Array;
  /** Factor on cosines and sines. */
  amplitude: number;
  /** How queries grow where texts are longer than a context. */
  queryGrowth: QueryGrowth | undefined;
}

/** Ministral 3's and Llama 4's: queries in the n-th context, counted from 0, are 1 + beta · log(1 + n) times as long. */
export interface QueryGrowth {
  beta: number;
  /** Tokens of the context that the model was trained at first. */
  context: number;
}

/**
 * Rotary positions from `rope_parameters`, or from `rope_theta` and `rope_scaling` as configs before Transformers 5 have them.
 * @throws DejaDitError UNSUPPORTED for a kind of scaling that is not built
 */
export function readRope(config: ConfigReader, headDim: number, defaults: RopeDefaults): Rope {
  const { json, origin } = config;
  const parameters = new ConfigReader(
    {
      rope_theta: json.rope_theta,
      partial_rotary_factor: json.partial_rotary_factor,
      ...record(json.rope_scaling),
      ...record(json.rope_parameters),
    },
    origin,
  );
  const theta = parameters.positive('rope_theta', defaults.theta);
  const rotated = Math.trunc(headDim * parameters.positive('partial_rotary_factor', defaults.rotaryFactor));
  const wavelengths = Float32Array.from({ length: rotated / 2 }, (_, i) => theta ** fround((2 * i) / rotated));
  const plain = wavelengths.map((length) => 1 / length);
  const beta = parameters.nullable('llama_4_scaling_beta', (name) => parameters.number(name));
  const queryGrowth = beta ? { beta, context: parameters.integer('original_max_position_embeddings') } : undefined;
  const rope = (frequencies: Float32Array, amplitude = 1): Rope => ({ frequencies, amplitude, queryGrowth });
  const kind = parameters.string('rope_type', parameters.string('type', 'default'));
  switch (kind) {
    case 'default':
    // Of Qwen-VL: the frequencies are those of text, see `mropeAxes`.
    case 'mrope':
      return rope(plain);
    case 'linear': {
      const factor = parameters.positive('factor');
      return rope(plain.map((frequency) => frequency / factor));
    }
    case 'llama3':
      return rope(llama3Frequencies(plain, parameters));
    case 'yarn': {
      const yarn = readYarn(parameters, { positions: positions(config), theta, rotated });
      return rope(yarnFrequencies(wavelengths, yarn), yarn.amplitude);
    }
    default:
      throw new DejaDitError(
        'UNSUPPORTED',
        `rope_type '${kind}' is not supported, only default, mrope, linear, llama3, yarn`,
        { path: origin },
      );
  }
}

/**
 * Llama 3.1's longer context: wavelengths beyond the original context are stretched by `factor`, short ones stay, and those
 * between go from one to the other.
 */
function llama3Frequencies(plain: Float32Array, parameters: ConfigReader): Float32Array {
  const factor = parameters.positive('factor');
  const low = parameters.positive('low_freq_factor');
  const high = parameters.positive('high_freq_factor');
  const context = parameters.integer('original_max_position_embeddings');
  return plain.map((frequency) => {
    const wavesInContext = (context * frequency) / (2 * Math.PI);
    const kept = Math.min(Math.max((wavesInContext - low) / (high - low), 0), 1);
    return kept * frequency + ((1 - kept) * frequency) / factor;
  });
}

const positions = (config: ConfigReader) => config.nullable('max_position_embeddings', (name) => config.integer(name));

interface Yarn {
  factor: number;
  amplitude: number;
  /** Pairs before the first turn as they were trained, those behind the last `factor` times as slowly. */
  first: number;
  last: number;
}

/** @param of the longest text in tokens, as configs have it; the base of wavelengths; rotated features of a head */
function readYarn(
  parameters: ConfigReader,
  { positions, theta, rotated }: { positions: number | undefined; theta: number; rotated: number },
): Yarn {
  const context = parameters.integer('original_max_position_embeddings', positions);
  const factor = parameters.positive('factor', positions && positions / context);
  const optional = (name: string) => parameters.nullable(name, (given) => parameters.number(given));
  const growth = (weight: number) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
  const [mscale, mscaleAllDim] = [optional('mscale'), optional('mscale_all_dim')];
  const inferred = mscale && mscaleAllDim ? growth(mscale) / growth(mscaleAllDim) : growth(1);
  // Which pair turns so many times within the context.
  const pair = (turns: number) => (rotated * Math.log(context / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const truncated = parameters.boolean('truncate', true);
  const [fast, slow] = [pair(optional('beta_fast') || 32), pair(optional('beta_slow') || 1)];
  const first = Math.max(truncated ? Math.floor(fast) : fast, 0);
  const last = Math.min(truncated ? Math.ceil(slow) : slow, rotated - 1);
  return {
    factor,
    amplitude: optional('attention_factor') ?? inferred,
    first,
    last: first === last ? last + 0.001 : last,
  };
}

/** YaRN (arXiv 2309.00071): slow pairs, which do not turn once within the trained context, are slowed by `factor`, fast ones stay. */
function yarnFrequencies(wavelengths: Float32Array, { factor, first, last }: Yarn): Float32Array {
  return wavelengths.map((length, i) => {
    const slowed = Math.min(Math.max(fround(fround(i - first) / fround(last - first)), 0), 1);
    const kept = fround(1 - slowed);
    const stretched = fround(1 / fround(factor * length));
    return fround(stretched * fround(1 - kept)) + fround(fround(1 / length) * kept);
  });
}

/**
 * How frequencies are shared out among time, row and column: in sections (Qwen2-VL, arXiv 2409.12191), those of time first, then rows,
 * then columns; or taking turns as long as an axis has some left, the rest for time (Qwen3-VL, arXiv 2511.21631).
 */
export type MropeOrder = 'sections' | 'interleaved';

/** Which of time, row and column every frequency turns with, from `mrope_section`. */
export function mropeAxes({ json, origin }: ConfigReader, frequencies: number, order: MropeOrder): Uint8Array {
  const parameters = new ConfigReader({ ...record(json.rope_scaling), ...record(json.rope_parameters) }, origin);
  if (order === 'interleaved') {
    const shares = parameters.counts('mrope_section', [24, 20, 20]);
    return Uint8Array.from({ length: frequencies }, (_, i) => (i < 3 * (shares[i % 3] ?? 0) ? i % 3 : 0));
  }
  const sections = parameters.counts('mrope_section', [16, 24, 24]);
  const axes = sections.flatMap((size, section) => Array<number>(size).fill(section % 3));
  if (axes.length === frequencies) return Uint8Array.from(axes);
  throw new DejaDitError('INVALID_CONFIG', `'mrope_section' is [${sections}], expected a sum of ${frequencies}`, {
    path: origin,
  });
}

/** cos and sin [B, tokens, frequencies] for positions [B][tokens][3], of which every frequency takes one. */
export function mropeTables(
  positions: readonly (readonly (readonly number[])[])[],
  { rope, axes }: { rope: Rope; axes: Uint8Array },
): RotaryTables {
  const angles = Float32Array.from(
    positions.flatMap((sample) =>
      sample.flatMap((places) => Array.from(rope.frequencies, (frequency, i) => places[axes[i]!]! * frequency)),
    ),
  );
  return tables(angles, [positions.length, positions[0]!.length], rope);
}

/** cos and sin [1, tokens, frequencies] for positions 0, 1, 2 …, or [B, tokens, frequencies] for those given [B, tokens]. */
export function ropeTables(tokens: number, rope: Rope, positions?: Tensor): RotaryTables {
  const { frequencies } = rope;
  const places = placesOf(tokens, positions);
  const angles = Float32Array.from({ length: places.length * frequencies.length }, (_, i) => {
    return places[Math.floor(i / frequencies.length)]! * frequencies[i % frequencies.length]!;
  });
  return tables(angles, [places.length / tokens, tokens], rope);
}

function tables(angles: Float32Array, places: readonly number[], { frequencies, amplitude }: Rope): RotaryTables {
  const table = (turn: (angle: number) => number) =>
    floatTensor(
      angles.map((angle) => fround(turn(angle)) * amplitude),
      [...places, frequencies.length],
    );
  return { cos: table(Math.cos), sin: table(Math.sin) };
}

/** How many times as long queries are, [1 or B, tokens, 1]; undefined if they are as they are. */
export function queryLengths(tokens: number, { queryGrowth }: Rope, positions?: Tensor): Tensor | undefined {
  if (!queryGrowth) return undefined;
  const { beta, context } = queryGrowth;
  const places = placesOf(tokens, positions);
  if (places.every((place) => place < context)) return undefined;
  const lengths = places.map((place) => 1 + beta * Math.log(1 + Math.floor(place / context)));
  return floatTensor(lengths, [places.length / tokens, tokens, 1]);
}

const placesOf = (tokens: number, positions: Tensor | undefined) =>
  positions?.float().f32 ?? Float32Array.from({ length: tokens }, (_, i) => i);

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
