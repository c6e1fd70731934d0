/**
 * Rotary position embedding (arXiv 2104.09864): cosine and sine tables on the host, where angles can be computed in double
 * precision, and their application in graphs.
 */
import { rotaryEmbedding } from '../graph/ops.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import { dims, floatTensor, lastDims, rows, type Tensor } from '../tensor/tensor.ts';

/** Tables as graph inputs, [B or 1, S, rotated / 2] each. */
export interface Rotary {
  cos: SymbolicTensor;
  sin: SymbolicTensor;
  /** The tables are those of all heads side by side, each of which turns in its own way. */
  acrossHeads?: boolean;
  /** Which features of a head turn together: pairs (2i, 2i+1), the default, or if false (i, i + rotated / 2). */
  interleaved?: boolean;
}

export interface RotaryTables {
  cos: Tensor;
  sin: Tensor;
}

export interface RotaryTableOptions {
  /** Width of the head given to each position axis; their sum is the rotated width. */
  axesDim: readonly number[];
  /** One for all axes, or one each. */
  theta: number | readonly number[];
  /** What the model's own code computes angles in. Default double. */
  precision?: 'double' | 'single';
}

/**
 * Tables for tokens with several position axes (time, row, column …).
 * @param positions one row of `axesDim.length` positions per token
 * @returns cos and sin [1, tokens, Σ axesDim / 2], angles position·theta^(−2i / axisDim)
 */
export function rotaryTables(
  positions: readonly (readonly number[])[],
  { axesDim, theta, precision = 'double' }: RotaryTableOptions,
): RotaryTables {
  const round = precision === 'single' ? Math.fround : (value: number) => value;
  const half = axesDim.reduce((sum, dim) => sum + dim / 2, 0);
  const cos = new Float32Array(positions.length * half);
  const sin = new Float32Array(positions.length * half);
  let offset = 0;
  for (const [axis, dim] of axesDim.entries()) {
    const base = typeof theta === 'number' ? theta : theta[axis]!;
    const frequencies = Array.from({ length: dim / 2 }, (_, i) => round(1 / round(base ** round((2 * i) / dim))));
    // Tokens of a grid share a few positions per axis, and cosines are dear.
    const known = new Map<number, { cos: Float32Array; sin: Float32Array }>();
    for (const [token, position] of positions.entries()) {
      const at = position[axis]!;
      let row = known.get(at);
      if (!row) {
        const angles = frequencies.map((frequency) => round(at * frequency));
        row = { cos: Float32Array.from(angles, Math.cos), sin: Float32Array.from(angles, Math.sin) };
        known.set(at, row);
      }
      cos.set(row.cos, token * half + offset);
      sin.set(row.sin, token * half + offset);
    }
    offset += dim / 2;
  }
  const shape = [1, positions.length, half];
  return { cos: floatTensor(cos, shape), sin: floatTensor(sin, shape) };
}

/** Tables [1, first + S, …] of a sequence whose first tokens are not turned, from those [1, S, …] of the others. */
export function afterUnturned({ cos, sin }: RotaryTables, first: number): RotaryTables {
  const [, tokens, half] = dims(cos, 3);
  const extend = (table: Tensor, value: number) => {
    const out = new Float32Array((first + tokens) * half).fill(value, 0, first * half);
    out.set(table.f32, first * half);
    return floatTensor(out, [1, first + tokens, half]);
  };
  return { cos: extend(cos, 1), sin: extend(sin, 0) };
}

/** The positions of all samples of a batch, which are the same: [tokens, axes] or [B, tokens, axes]. */
export function sharedPositions(ids: Tensor): number[][] {
  const [tokens, axes] = lastDims(ids, 2);
  return rows(ids.reshape([-1, axes])).slice(0, tokens);
}

/** Positions of a grid of tokens, row-major: one index per axis. */
export function gridPositions(grid: readonly number[]): number[][] {
  return grid.reduce<number[][]>(
    (positions, size) => positions.flatMap((position) => Array.from({ length: size }, (_, i) => [...position, i])),
    [[]],
  );
}

/** Rotates x [B, S, heads·headDim]. */
export function applyRotary(
  x: SymbolicTensor,
  { cos, sin, acrossHeads = false, ...layout }: Rotary,
  heads: number,
  interleaved = layout.interleaved ?? true,
): SymbolicTensor {
  return rotaryEmbedding(x, { cos, sin, numHeads: acrossHeads ? 1 : heads, interleaved });
}
