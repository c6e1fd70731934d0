/**
 * Where LTX-2's tokens are: video at seconds, rows and columns of pixels, sound at seconds, each in the middle of what it covers; and the
 * rotary tables made of that.
 */
import { DejaDitError } from '../../../errors/errors.ts';
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { applyRotary } from '../../../nn/rotary.ts';
import { dims, floatTensor, type Tensor } from '../../../tensor/tensor.ts';
import type { ForwardInputs, InputValue } from '../../inputs.ts';

const { fround } = Math;

export interface PositionConfig {
  patch: readonly [number, number, number];
  /** Pixels of a latent along frames, rows and columns; steps of the spectrum of a latent of sound. */
  scale: readonly number[];
  audioScale: number;
  /** Seconds of a step of the spectrum. */
  stepSeconds: number;
  audioPatch: number;
  /** By how much the first frame, which stands alone, moves the others. */
  causalOffset: number;
}

/** Along each axis, of each token; of all samples alike: [axes][tokens]. */
export type Places = readonly (readonly number[])[];

const middle = (start: number, end: number) => fround(fround(start + end) / 2);

/** @throws DejaDitError if the sizes are missing or do not make as many tokens */
export function videoPlaces(inputs: ForwardInputs, tokens: number, config: PositionConfig): Places {
  const sizes = ['num_frames', 'height', 'width'].map((name) => size(name, inputs[name]));
  const fps = typeof inputs.fps === 'number' ? inputs.fps : 24;
  const { patch, scale, causalOffset } = config;
  const along = sizes.map((length, axis) => {
    const starts = Array.from({ length: Math.ceil(length / patch[axis]!) }, (_, i) => i * patch[axis]!);
    const bound = (latent: number) => {
      const pixel = latent * scale[axis]!;
      return axis > 0 ? pixel : fround(Math.max(0, pixel + causalOffset - scale[0]!) / fps);
    };
    return starts.map((start) => middle(bound(start), bound(start + patch[axis]!)));
  }) as [number[], number[], number[]];
  const [frames, rows, columns] = along;
  if (frames.length * rows.length * columns.length !== tokens) {
    const message = `${sizes.join(' x ')} latents do not make ${tokens} tokens`;
    throw new DejaDitError('SHAPE_MISMATCH', message, { path: 'hidden_states' });
  }
  const cells = frames.flatMap((frame) =>
    rows.flatMap((row) => columns.map((column) => [frame, row, column] as const)),
  );
  return [0, 1, 2].map((axis) => cells.map((cell) => cell[axis]!));
}

export function audioPlaces(tokens: number, config: PositionConfig): Places {
  const { audioScale, audioPatch, stepSeconds, causalOffset } = config;
  const seconds = (latent: number) =>
    fround(Math.max(0, latent * audioScale + causalOffset - audioScale) * stepSeconds);
  return [Array.from({ length: tokens }, (_, i) => middle(seconds(i * audioPatch), seconds((i + 1) * audioPatch)))];
}

/** Places that the caller gives: bounds [B, axes, tokens, 2] of what tokens cover, the same in all samples. */
export function givenPlaces(coordinates: Tensor): Places {
  const [, axes, tokens] = dims(coordinates, 4);
  const values = coordinates.float().f32;
  return Array.from({ length: axes }, (_, axis) =>
    Array.from({ length: tokens }, (_, token) => {
      const at = (axis * tokens + token) * 2;
      return middle(values[at]!, values[at + 1]!);
    }),
  );
}

export interface TableOptions {
  /** Of the queries that are turned, all heads together. */
  width: number;
  /** Heads that the angles are dealt out to. */
  heads: number;
  /** What counts as 1 along each axis. */
  largest: readonly number[];
  theta: number;
  double: boolean;
}

/** cos and sin [1, tokens, heads, width / heads / 2]; what the axes do not fill, at the beginning, is not turned. */
export function placeTables(
  places: Places,
  { width, heads, largest, theta, double }: TableOptions,
): { cos: Tensor; sin: Tensor } {
  const [axes, tokens] = [places.length, places[0]!.length];
  const steps = Math.floor(width / (2 * axes));
  const round = double ? (value: number) => value : fround;
  const frequencies = Array.from({ length: steps }, (_, i) => {
    const share = steps === 1 ? 0 : round(i / (steps - 1));
    return fround((round(theta ** share) * Math.PI) / 2);
  });
  const half = width / 2;
  const unturned = half - steps * axes;
  const cos = new Float32Array(tokens * half).fill(1);
  const sin = new Float32Array(tokens * half);
  for (let token = 0; token < tokens; token++)
    for (const [axis, along] of places.entries()) {
      const centred = fround(fround(fround(along[token]! / largest[axis]!) * 2) - 1);
      for (const [step, frequency] of frequencies.entries()) {
        const angle = fround(centred * frequency);
        const at = token * half + unturned + step * axes + axis;
        cos[at] = Math.cos(angle);
        sin[at] = Math.sin(angle);
      }
    }
  const shape = [1, tokens, heads, half / heads];
  return { cos: floatTensor(cos, shape), sin: floatTensor(sin, shape) };
}

export interface Turn {
  /** [1, tokens, heads, pairs]. */
  cos: SymbolicTensor;
  sin: SymbolicTensor;
  /** Whether neighbours turn together, or halves of each head. */
  interleaved: boolean;
}

/** Turns x [B, S, D], every head in its own way. */
export function turned(x: SymbolicTensor, { cos, sin, interleaved }: Turn): SymbolicTensor {
  const [, tokens, heads, pairs] = dims(cos, 4);
  if (interleaved) {
    const flat = (table: SymbolicTensor) => table.reshape([1, tokens, heads * pairs]);
    return applyRotary(x, { cos: flat(cos), sin: flat(sin), acrossHeads: true }, heads);
  }
  const [first, second] = x.reshape([x.dim(0), tokens, heads, 2 * pairs]).chunk(2);
  return concat([first.mul(cos).sub(second.mul(sin)), second.mul(cos).add(first.mul(sin))], -1).reshape(x.shape);
}

function size(path: string, value: InputValue): number {
  if (Number.isInteger(value) && Number(value) > 0) return Number(value);
  throw new DejaDitError('INVALID_ARGUMENT', 'is missing: a number of latents, unless video_coords are given', {
    path,
  });
}
