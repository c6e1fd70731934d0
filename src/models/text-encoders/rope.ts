/**
 * Rotary positions of language models: the frequencies that a config's `rope_parameters` stand for, and their tables.
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

/**
 * Angle per position of every rotated pair [rotated / 2], from `rope_parameters`, or from `rope_theta` and `rope_scaling` as
 * configs before Transformers 5 have them.
 * @throws DejaDitError UNSUPPORTED for a kind of scaling that is not built
 */
export function ropeFrequencies(config: ConfigReader, headDim: number, defaults: RopeDefaults): Float32Array {
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
  const plain = Float32Array.from({ length: rotated / 2 }, (_, i) => 1 / fround(theta ** fround((2 * i) / rotated)));
  const kind = parameters.string('rope_type', parameters.string('type', 'default'));
  switch (kind) {
    case 'default':
    // Of Qwen-VL: the frequencies are those of text, see `mropeAxes`.
    case 'mrope':
      return plain;
    case 'linear': {
      const factor = parameters.positive('factor');
      return plain.map((frequency) => frequency / factor);
    }
    case 'llama3':
      return llama3Frequencies(plain, parameters);
    default:
      throw new DejaDitError(
        'UNSUPPORTED',
        `rope_type '${kind}' is not supported, only default, mrope, linear, llama3`,
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

/**
 * Which of time, row and column every frequency turns with, from `mrope_section` (Qwen2-VL, arXiv 2409.12191): frequencies of time, then
 * of rows, then of columns.
 */
export function mropeAxes({ json, origin }: ConfigReader, frequencies: number): Uint8Array {
  const parameters = new ConfigReader({ ...record(json.rope_scaling), ...record(json.rope_parameters) }, origin);
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
  { frequencies, axes }: { frequencies: Float32Array; axes: Uint8Array },
): RotaryTables {
  const shape = [positions.length, positions[0]!.length, frequencies.length];
  const angles = Float32Array.from(
    positions.flatMap((sample) =>
      sample.flatMap((places) => Array.from(frequencies, (frequency, i) => places[axes[i]!]! * frequency)),
    ),
  );
  return { cos: floatTensor(angles.map(Math.cos), shape), sin: floatTensor(angles.map(Math.sin), shape) };
}

/** cos and sin [1, tokens, frequencies] for positions 0, 1, 2 …, or [B, tokens, frequencies] for those given [B, tokens]. */
export function ropeTables(tokens: number, frequencies: Float32Array, positions?: Tensor): RotaryTables {
  const half = frequencies.length;
  const places = positions?.float().f32 ?? Float32Array.from({ length: tokens }, (_, i) => i);
  const angles = Float32Array.from({ length: places.length * half }, (_, i) => {
    return places[Math.floor(i / half)]! * frequencies[i % half]!;
  });
  const shape = [places.length / tokens, tokens, half];
  return { cos: floatTensor(angles.map(Math.cos), shape), sin: floatTensor(angles.map(Math.sin), shape) };
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
