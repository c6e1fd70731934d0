/**
 * Rotary tables that callers compute: Diffusers' `image_rotary_emb`, a pair (cos, sin) in which every angle stands twice, once for each
 * feature of the pair that it turns.
 */
import { DejaDitError } from '../errors/errors.ts';
import type { RotaryTables } from '../nn/rotary.ts';
import { floatTensor, Tensor } from '../tensor/tensor.ts';
import type { InputValue } from './inputs.ts';

export interface RotaryInputOptions {
  /** The input's name. */
  name: string;
  tokens: number;
  /** Features of a head that are turned. */
  width: number;
  /** Whether the two that turn together are neighbours; else they lie half the width apart. Default true. */
  interleaved?: boolean;
}

/**
 * Tables [1, tokens, width / 2] from [tokens, width].
 * @throws DejaDitError naming the input
 */
export function rotaryInput(value: InputValue, options: RotaryInputOptions): RotaryTables {
  const { name, tokens, width, interleaved = true } = options;
  const shape = [tokens, width];
  const [cos, sin, ...rest] = Array.isArray(value) ? (value as readonly InputValue[]) : [];
  const halve = (table: InputValue, part: number): Tensor => {
    if (!(table instanceof Tensor) || String(table.shape) !== String(shape)) {
      const got = table instanceof Tensor ? `shape [${table.shape}]` : 'no tensor';
      throw new DejaDitError('SHAPE_MISMATCH', `${got}, expected [${shape}]`, { path: `${name}.${part}` });
    }
    const all = table.float().f32;
    const half = width / 2;
    const out = new Float32Array(tokens * half);
    for (let at = 0; at < out.length; at++) {
      const [token, i] = [Math.floor(at / half), at % half];
      out[at] = all[token * width + (interleaved ? 2 * i : i)]!;
    }
    return floatTensor(out, [1, tokens, half]);
  };
  if (cos === undefined || sin === undefined || rest.length > 0) {
    throw new DejaDitError('INVALID_ARGUMENT', `expected a list of two tensors [${shape}], cosines and sines`, {
      path: name,
    });
  }
  return { cos: halve(cos, 0), sin: halve(sin, 1) };
}
