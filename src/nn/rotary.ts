/**
 * Rotary position embedding (arXiv 2104.09864): cosine and sine tables on the host, where angles can be computed in double
 * precision, and their application in graphs.
 */
import { rotaryEmbedding } from '../graph/ops.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import { floatTensor, type Tensor } from '../tensor/tensor.ts';

/** Tables as graph inputs, [B or 1, S, rotated / 2] each. */
export interface Rotary {
  cos: SymbolicTensor;
  sin: SymbolicTensor;
}

export interface RotaryTables {
  cos: Tensor;
  sin: Tensor;
}

export interface RotaryTableOptions {
  /** Width of the head given to each position axis; their sum is the rotated width. */
  axesDim: readonly number[];
  theta: number;
}

/**
 * Tables for tokens with several position axes (time, row, column …).
 * @param positions one row of `axesDim.length` positions per token
 * @returns cos and sin [1, tokens, Σ axesDim / 2], angles position·theta^(−2i / axisDim)
 */
export function rotaryTables(
  positions: readonly (readonly number[])[],
  { axesDim, theta }: RotaryTableOptions,
): RotaryTables {
  const half = axesDim.reduce((sum, dim) => sum + dim / 2, 0);
  const cos = new Float32Array(positions.length * half);
  const sin = new Float32Array(positions.length * half);
  const frequencies = axesDim.map((dim) => Float64Array.from({ length: dim / 2 }, (_, i) => theta ** ((-2 * i) / dim)));
  let at = 0;
  for (const position of positions) {
    for (const [axis, axisFrequencies] of frequencies.entries()) {
      for (const frequency of axisFrequencies) {
        const angle = position[axis]! * frequency;
        cos[at] = Math.cos(angle);
        sin[at++] = Math.sin(angle);
      }
    }
  }
  const shape = [1, positions.length, half];
  return { cos: floatTensor(cos, shape), sin: floatTensor(sin, shape) };
}

/** Rotates x [B, S, heads·headDim]; pairs (2i, 2i+1) unless `interleaved` is false. */
export function applyRotary(x: SymbolicTensor, rotary: Rotary, numHeads: number, interleaved = true): SymbolicTensor {
  return rotaryEmbedding(x, { ...rotary, numHeads, interleaved });
}
