/**
 * LTX-Video's rotary positions: fractions of the longest video the model knows, as angles of frequencies from π/2 to θ·π/2 that
 * turn the whole width of a token at once, not each head. Highest frequencies turn so fast that the rounding of float32 shows in
 * the angles, so every operation is rounded as PyTorch rounds it.
 */
import { DejaDitError } from '../../../errors/errors.ts';
import { gridPositions, type RotaryTables } from '../../../nn/rotary.ts';
import { dims, floatTensor, type Tensor } from '../../../tensor/tensor.ts';
import type { ForwardInputs, InputValue } from '../../inputs.ts';

/** Frames, rows and columns that position 1 stands for. */
const BASE = [20, 2048, 2048] as const;
const THETA = 10000;

/** Frames, rows and columns. */
type Triple = readonly [number, number, number];

export interface VideoRotaryOptions {
  /** D, the width of a token. */
  width: number;
  patch: Triple;
  tokens: number;
}

/** Tables [B or 1, tokens, D / 2] from `video_coords`, or from the video's size and `rope_interpolation_scale`. */
export function videoRotary(
  inputs: ForwardInputs,
  coords: Tensor | undefined,
  { width, patch, tokens }: VideoRotaryOptions,
): RotaryTables {
  const samples = coords ? coordPositions(coords) : [sizePositions(inputs, { patch, tokens })];
  const frequencies = axisFrequencies(Math.floor(width / 6));
  const half = width / 2;
  // The width is no multiple of three axes: what is left over comes first and is not turned.
  const unturned = (width % 6) / 2;
  const cos = new Float32Array(samples.length * tokens * half).fill(1);
  const sin = new Float32Array(samples.length * tokens * half);
  // Tokens of a grid share a few positions per axis, and cosines are dear.
  const known = new Map<number, { cos: Float32Array; sin: Float32Array }>();
  const turnOf = (position: number) => {
    let turn = known.get(position);
    if (!turn) {
      const centred = Math.fround(Math.fround(position * 2) - 1);
      const angles = frequencies.map((frequency) => Math.fround(frequency * centred));
      turn = { cos: Float32Array.from(angles, Math.cos), sin: Float32Array.from(angles, Math.sin) };
      known.set(position, turn);
    }
    return turn;
  };
  for (const [token, positions] of samples.flat().entries()) {
    for (const [axis, position] of positions.entries()) {
      const turn = turnOf(position);
      let at = token * half + unturned + axis;
      for (let i = 0; i < frequencies.length; i++, at += 3) {
        cos[at] = turn.cos[i]!;
        sin[at] = turn.sin[i]!;
      }
    }
  }
  const shape = [samples.length, tokens, half];
  return { cos: floatTensor(cos, shape), sin: floatTensor(sin, shape) };
}

/** θ^x·π/2 for x from 0 to 1 in `count` equal steps. */
function axisFrequencies(count: number): number[] {
  const step = Math.fround(1 / (count - 1));
  return Array.from({ length: count }, (_, i) => {
    // PyTorch's linspace counts from the nearer end, multiplying and adding in one rounding.
    const exponent = Math.fround(i < Math.floor(count / 2) ? step * i : 1 - step * (count - 1 - i));
    const power = Math.fround(THETA ** (count === 1 ? 0 : exponent));
    return Math.fround(Math.fround(power * Math.fround(Math.PI)) / 2);
  });
}

function coordPositions(coords: Tensor): number[][][] {
  const [batch, , tokens] = dims(coords, 3);
  const at = (sample: number, axis: number, token: number) => coords.f32[(sample * 3 + axis) * tokens + token]!;
  return Array.from({ length: batch }, (_, sample) =>
    Array.from({ length: tokens }, (_, token) => BASE.map((base, axis) => Math.fround(at(sample, axis, token) / base))),
  );
}

function sizePositions(inputs: ForwardInputs, { patch, tokens }: { patch: Triple; tokens: number }): number[][] {
  const grid = ['num_frames', 'height', 'width'].map((name) => latentSize(name, inputs[name]));
  const total = grid.reduce((product, size) => product * size, 1);
  if (total !== tokens) fail('num_frames', `${grid.join(' × ')} are ${total} tokens, hidden_states has ${tokens}`);
  const scale = scaleOf(inputs.rope_interpolation_scale);
  const positions = gridPositions(grid);
  if (!scale) return positions;
  const round = Math.fround;
  return positions.map((position) =>
    position.map((index, axis) => round(round(round(index * round(scale[axis]!)) * patch[axis]!) / BASE[axis]!)),
  );
}

function latentSize(name: string, size: InputValue): number {
  if (typeof size === 'number' && Number.isSafeInteger(size) && size > 0) return size;
  fail(name, `${size}, expected the latent video's size in tokens, or 'video_coords' instead`);
}

function scaleOf(value: InputValue): readonly number[] | undefined {
  if (value === undefined || value === null) return undefined;
  if (Array.isArray(value) && value.length === 3 && value.every((factor) => typeof factor === 'number')) return value;
  fail('rope_interpolation_scale', 'expected three numbers: frames, rows, columns');
}

function fail(path: string, message: string): never {
  throw new DejaDitError('INVALID_ARGUMENT', message, { path });
}
