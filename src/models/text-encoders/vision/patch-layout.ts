/**
 * Where the patches of pictures lie, and which of them see each other: the host's work for vision towers. Patches come as Qwen-VL's
 * processors order them: the merge×merge ones that become one token follow each other, tokens row by row.
 */
import { DejaDitError } from '../../../errors/errors.ts';
import { MASKED } from '../../../nn/attention/attention-mask.ts';
import { floatTensor, intTensor, rows, type Tensor } from '../../../tensor/tensor.ts';

/** A picture's patches: frames (one, unless it is a video), rows, columns. */
export interface PatchGrid {
  frames: number;
  rows: number;
  columns: number;
}

/**
 * Reads `image_grid_thw` [pictures, 3].
 * @throws DejaDitError if rows or columns are no whole number of tokens, or the grids are not of as many patches as there are
 */
export function readGrids(thw: Tensor, { patches, merge }: { patches: number; merge: number }): PatchGrid[] {
  const grids = rows(thw).map((grid) => {
    const [frames, height, width] = grid.map(Number) as [number, number, number];
    if (frames > 0 && height > 0 && width > 0 && height % merge === 0 && width % merge === 0)
      return { frames, rows: height, columns: width };
    throw invalid(`a picture of [${grid}] patches, expected rows and columns that are multiples of ${merge}`);
  });
  const count = grids.reduce((sum, grid) => sum + grid.frames * grid.rows * grid.columns, 0);
  if (count !== patches) throw invalid(`pictures of ${count} patches, but pixel_values has ${patches}`);
  return grids;
}

/** Row and column of every patch. */
export function patchPlaces(grids: readonly PatchGrid[], merge: number): [number, number][] {
  return grids.flatMap((grid) =>
    tokenPlaces(grid, merge).flatMap(([, row, column]) =>
      Array.from({ length: merge ** 2 }, (_, i): [number, number] => [
        row * merge + Math.floor(i / merge),
        column * merge + (i % merge),
      ]),
    ),
  );
}

/** Frame, row and column of every token of a picture. */
export function tokenPlaces({ frames, rows: height, columns }: PatchGrid, merge: number): [number, number, number][] {
  const [down, across] = [height / merge, columns / merge];
  return Array.from({ length: frames * down * across }, (_, i) => [
    Math.floor(i / (down * across)),
    Math.floor(i / across) % down,
    i % across,
  ]);
}

/** The patches of every frame. */
export function frameSegments(grids: readonly PatchGrid[]): number[][] {
  let first = 0;
  return grids.flatMap(({ frames, rows: height, columns }) =>
    Array.from({ length: frames }, () => {
      const segment = Array.from({ length: height * columns }, (_, i) => first + i);
      first += segment.length;
      return segment;
    }),
  );
}

/** The patches of every window of `window`×`window` tokens; those at the right and lower edge may be smaller. */
export function windowSegments(
  grids: readonly PatchGrid[],
  { merge, window }: { merge: number; window: number },
): number[][] {
  const segments = new Map<string, number[]>();
  let patch = 0;
  for (const [picture, grid] of grids.entries()) {
    for (const [frame, row, column] of tokenPlaces(grid, merge)) {
      const key = [picture, frame, Math.floor(row / window), Math.floor(column / window)].join();
      const segment = segments.get(key) ?? [];
      segments.set(key, segment);
      for (let i = 0; i < merge ** 2; i++) segment.push(patch++);
    }
  }
  return [...segments.values()];
}

/** Segments as rows of a batch, and back. */
export interface Segments<T> {
  /** The patches of every segment [segments, longest], filled up with patch 0. */
  rows: T;
  /** Where each patch is in there, [patches]. */
  back: T;
  /** [segments, longest], 0 for patches and much less for what fills up; absent where nothing does. */
  bias?: T | undefined;
}

export function segmentTensors(segments: readonly (readonly number[])[]): Segments<Tensor> {
  const longest = Math.max(...segments.map((segment) => segment.length));
  const padded = segments.flatMap((segment) => Array.from({ length: longest }, (_, i) => segment[i] ?? 0));
  const bias = segments.flatMap((segment) =>
    Array.from({ length: longest }, (_, i) => (i < segment.length ? 0 : MASKED)),
  );
  const back: number[] = [];
  for (const [index, segment] of segments.entries())
    for (const [i, patch] of segment.entries()) back[patch] = index * longest + i;
  const shape = [segments.length, longest];
  return {
    rows: intTensor(padded, shape),
    back: intTensor(back),
    ...(bias.some((value) => value !== 0) ? { bias: floatTensor(bias, shape) } : {}),
  };
}

const invalid = (message: string) => new DejaDitError('INVALID_ARGUMENT', message, { path: 'image_grid_thw' });
