/**
 * Patches: how a latent image [B, C, H, W] or video [B, C, F, H, W] becomes a sequence of tokens, and back. The token grid is the
 * latent's size divided by the patch's, row-major.
 */
import { DejaDitError } from '../errors/errors.ts';
import { conv } from '../graph/ops.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import { dims, type Tensor } from '../tensor/tensor.ts';
import type { BiasOption } from './linear.ts';
import { layer, type Module } from './module.ts';

/**
 * The token grid of a latent, on the host.
 * @param name the input, for the error
 * @param patch size along each spatial axis
 * @throws DejaDitError SHAPE_MISMATCH if the latent is no whole number of patches
 */
export function patchGrid<const Patch extends readonly number[]>(
  name: string,
  latent: Pick<Tensor, 'shape'>,
  patch: Patch,
): { -readonly [Axis in keyof Patch]: number } {
  const spatial = latent.shape.slice(2);
  if (spatial.length !== patch.length || spatial.some((size, axis) => size % patch[axis]! !== 0)) {
    throw new DejaDitError(
      'SHAPE_MISMATCH',
      `shape [${latent.shape}], expected spatial sizes that are multiples of the patch size [${patch}]`,
      { path: name },
    );
  }
  return spatial.map((size, axis) => size / patch[axis]!) as { -readonly [Axis in keyof Patch]: number };
}

export interface PatchEmbeddingOptions extends BiasOption {
  patch: readonly number[];
  width: number;
}

/** A convolution with the patch as kernel and stride: [B, C, …] → [B, tokens, width]. */
export const patchConvolution = layer(
  (m, x: SymbolicTensor, { patch, width, bias = true }: PatchEmbeddingOptions): SymbolicTensor => {
    const embedded = conv(x, {
      weight: m.weight('weight', [width, x.dim(1), ...patch]),
      bias: bias ? m.weight('bias', [width]) : undefined,
      stride: patch,
    });
    return embedded.reshape([x.dim(0), width, -1]).transpose([0, 2, 1]);
  },
);

/** `patchConvolution` of every frame of a video [B, F, C, H, W]: [B, tokens, width], frame after frame. */
export function framePatches(m: Module, x: SymbolicTensor, options: PatchEmbeddingOptions): SymbolicTensor {
  const [batch, frames] = dims(x, 5);
  const tokens = patchConvolution(m, x.reshape([batch * frames, ...x.shape.slice(2)]), options);
  return tokens.reshape([batch, -1, options.width]);
}

/** Diffusers' PatchEmbed without positions: the convolution is called `proj`. */
export const patchEmbedding = layer((m, x: SymbolicTensor, options: PatchEmbeddingOptions): SymbolicTensor => {
  return patchConvolution(m.at('proj'), x, options);
});

/** Where a token's values keep the channel: [patch, C] or [C, patch]. */
export type ChannelPlace = 'last' | 'first';

/** Cuts x [B, C, …] into tokens of raw values: [B, tokens, patch · C]. */
export function patchify(
  x: SymbolicTensor,
  patch: readonly number[],
  channelPlace: ChannelPlace = 'last',
): SymbolicTensor {
  const [batch, channels, spatial] = [x.dim(0), x.dim(1), x.shape.slice(2)];
  const axes = patch.map((_, axis) => axis);
  const cut = x.reshape([batch, channels, ...axes.flatMap((axis) => [spatial[axis]! / patch[axis]!, patch[axis]!])]);
  const withinPatch = axes.map((axis) => 3 + 2 * axis);
  const order = [
    0,
    ...axes.map((axis) => 2 + 2 * axis),
    ...(channelPlace === 'last' ? [...withinPatch, 1] : [1, ...withinPatch]),
  ];
  return cut.transpose(order).reshape([batch, -1, channels * patch.reduce((product, size) => product * size, 1)]);
}

export interface UnpatchifyOptions {
  /** Tokens along each spatial axis. */
  grid: readonly number[];
  patch: readonly number[];
  /** Default last. */
  channels?: ChannelPlace;
}

/** Puts tokens [B, tokens, patch · C] back in their places: [B, C, …]. */
export function unpatchify(x: SymbolicTensor, { grid, patch, channels = 'last' }: UnpatchifyOptions): SymbolicTensor {
  const rank = grid.length;
  const count = x.dim(-1) / patch.reduce((product, size) => product * size, 1);
  const axes = grid.map((_, axis) => axis);
  const [patchAt, channelAt] = channels === 'last' ? [1 + rank, 1 + 2 * rank] : [2 + rank, 1 + rank];
  const tokens = x.reshape([x.dim(0), ...grid, ...(channels === 'last' ? [...patch, count] : [count, ...patch])]);
  const interleaved = tokens.transpose([0, channelAt, ...axes.flatMap((axis) => [1 + axis, patchAt + axis])]);
  return interleaved.reshape([x.dim(0), count, ...axes.map((axis) => grid[axis]! * patch[axis]!)]);
}
