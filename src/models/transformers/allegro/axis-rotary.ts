/**
 * Allegro's `image_rotary_emb`: for frames, rows and columns a pair of tables (cos, sin) each [positions, width], whose halves are equal;
 * and for each axis the rows that tokens take, [1, tokens].
 */
import { DejaDitError } from '../../../errors/errors.ts';
import type { RotaryTables } from '../../../nn/rotary.ts';
import { floatTensor, Tensor } from '../../../tensor/tensor.ts';
import type { InputValue } from '../../inputs.ts';

export interface AxisRotaryOptions {
  tokens: number;
  /** Features of a head that each axis turns. */
  axisWidth: number;
}

/** Tables [1, tokens, 3 · width / 2]: frame, row, column. */
export function axisRotary(value: InputValue, { tokens, axisWidth }: AxisRotaryOptions): RotaryTables {
  const [tables, rows] = listOf(value, 2, 'image_rotary_emb');
  const half = axisWidth / 2;
  const out = { cos: new Float32Array(3 * half * tokens), sin: new Float32Array(3 * half * tokens) };
  for (const [axis, pair] of listOf(tables, 3, 'image_rotary_emb.0').entries()) {
    const [cos, sin] = listOf(pair, 2, `image_rotary_emb.0.${axis}`).map((table, i) =>
      tensorOf(table, `image_rotary_emb.0.${axis}.${i}`),
    );
    const taken = tensorOf(listOf(rows, 3, 'image_rotary_emb.1')[axis], `image_rotary_emb.1.${axis}`);
    if (taken.size !== tokens) fail(`image_rotary_emb.1.${axis}`, `shape [${taken.shape}], expected [1, ${tokens}]`);
    for (const [token, row] of Array.from(taken.data as Int32Array, Number).entries()) {
      for (const [name, table] of [
        ['cos', cos!],
        ['sin', sin!],
      ] as const) {
        const from = row * axisWidth;
        if (table.dim(-1) !== axisWidth || !(row >= 0 && row < table.dim(0)))
          fail(`image_rotary_emb.0.${axis}`, `shape [${table.shape}], expected [more than ${row}, ${axisWidth}]`);
        out[name].set(table.float().f32.subarray(from, from + half), (token * 3 + axis) * half);
      }
    }
  }
  const shape = [1, tokens, 3 * half];
  return { cos: floatTensor(out.cos, shape), sin: floatTensor(out.sin, shape) };
}

function listOf(value: InputValue, length: number, path: string): readonly InputValue[] {
  if (Array.isArray(value) && value.length === length) return value;
  return fail(path, `expected a list of ${length}`);
}

function tensorOf(value: InputValue, path: string): Tensor {
  return value instanceof Tensor ? value : fail(path, 'expected a tensor');
}

function fail(path: string, message: string): never {
  throw new DejaDitError('INVALID_ARGUMENT', message, { path });
}
