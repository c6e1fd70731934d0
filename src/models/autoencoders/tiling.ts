/**
 * Images in overlapping tiles, as Diffusers cuts, blends and joins them. Host work only: what happens to a tile is the
 * caller's function. Norms and attention see one tile at a time, so the result is near to the untiled one, not equal.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { cut } from '../../tensor/slices.ts';
import { floatTensor, lastDims, type Tensor } from '../../tensor/tensor.ts';

export interface TileOptions {
  /** Edge of a tile in pixels of the input. */
  size: number;
  /** Pixels from one tile's beginning to the next one's. */
  stride: number;
  /** Output pixels per input pixel: 8 to decode, 1/8 to encode. */
  scale: number;
  /** Tiles [1, C, …, h, w] → [1, C', …, h·scale, w·scale], in order; what is given back is changed in place. */
  process(tiles: readonly (() => Tensor)[]): AsyncIterable<Tensor>;
}

/** Tiles of an image. */
export function tileCount({ height, width }: { height: number; width: number }, options: Grid): number {
  return tileStarts(height, options).length * tileStarts(width, options).length;
}

type Grid = Pick<TileOptions, 'stride' | 'scale'>;

/** Where tiles begin along an edge. What is too short to give one output pixel is left out. */
function tileStarts(length: number, { stride, scale }: Grid): number[] {
  const starts: number[] = [];
  for (let start = 0; start < length; start += stride) if ((length - start) * scale >= 1) starts.push(start);
  return starts;
}

/**
 * Processes x [1, C, …, H, W] tile by tile. Every tile fades in over its upper and left neighbours, linearly; only one row of
 * tiles is kept.
 */
export async function processTiles(x: Tensor, options: TileOptions): Promise<Tensor> {
  const { size, stride, scale, process } = options;
  const [height, width] = lastDims(x, 2);
  const kept = Math.floor(stride * scale);
  const overlap = Math.floor(size * scale) - kept;
  if (kept < 1 || overlap < 0 || !Number.isInteger(stride)) {
    throw new DejaDitError(
      'INVALID_ARGUMENT',
      `tiles of ${size} every ${stride} do not cover an image at scale ${scale}`,
    );
  }
  const outHeight = Math.floor(height * scale);
  const outWidth = Math.floor(width * scale);
  const squares = tileStarts(height, options).flatMap((top, row) =>
    tileStarts(width, options).map((left, column) => ({ row, column, top, left, size })),
  );
  let output: Tensor | undefined;
  let above: Tensor[] = [];
  let tiles: Tensor[] = [];
  let next = 0;
  for await (const tile of process(squares.map((square) => () => crop(x, square)))) {
    const { row, column } = squares[next++]!;
    if (column === 0) [above, tiles] = [tiles, []];
    if (row > 0) blend(above[column]!, tile, { overlap, axis: 'vertical' });
    if (column > 0) blend(tiles[column - 1]!, tile, { overlap, axis: 'horizontal' });
    output ??= floatTensor(new Float32Array((tile.size / area(tile)) * outHeight * outWidth), [
      ...tile.shape.slice(0, -2),
      outHeight,
      outWidth,
    ]);
    paste(output, tile, { top: row * kept, left: column * kept, size: kept });
    tiles.push(tile);
  }
  return output!;
}

interface Square {
  top: number;
  left: number;
  size: number;
}

/** The part of x inside the square; smaller where the image ends. */
function crop(x: Tensor, { top, left, size }: Square): Tensor {
  const rank = x.shape.length;
  const [height, width] = lastDims(x, 2);
  const rows = cut(x, { axis: rank - 2, from: top, to: Math.min(height, top + size) });
  return cut(rows, { axis: rank - 1, from: left, to: Math.min(width, left + size) });
}

/** Copies the first `size` rows and columns of a tile, or what there is, to (top, left) of the target. */
function paste(target: Tensor, tile: Tensor, { top, left, size }: Square): void {
  const [height, width] = lastDims(target, 2);
  const [tileHeight, tileWidth] = lastDims(tile, 2);
  const [rows, columns] = [Math.min(size, tileHeight, height - top), Math.min(size, tileWidth, width - left)];
  const [source, data] = [tile.f32, target.f32];
  const planes = source.length / (tileHeight * tileWidth);
  for (let plane = 0; plane < planes; plane++) {
    for (let row = 0; row < rows; row++) {
      const from = (plane * tileHeight + row) * tileWidth;
      data.set(source.subarray(from, from + columns), (plane * height + top + row) * width + left);
    }
  }
}

/** Fades `tile` in over the end of the tile before it; changes `tile` in place. */
function blend(
  before: Tensor,
  tile: Tensor,
  { overlap, axis }: { overlap: number; axis: 'vertical' | 'horizontal' },
): void {
  const [height, width] = lastDims(tile, 2);
  const [beforeHeight, beforeWidth] = lastDims(before, 2);
  const [old, data] = [before.f32, tile.f32];
  const planes = data.length / (height * width);
  const vertical = axis === 'vertical';
  const extent = vertical ? Math.min(overlap, height, beforeHeight) : Math.min(overlap, width, beforeWidth);
  const [rows, columns] = vertical ? [extent, width] : [height, extent];
  const [skipRows, skipColumns] = vertical ? [beforeHeight - extent, 0] : [0, beforeWidth - extent];
  for (let plane = 0; plane < planes; plane++) {
    for (let row = 0; row < rows; row++) {
      const at = (plane * height + row) * width;
      const from = (plane * beforeHeight + skipRows + row) * beforeWidth + skipColumns;
      for (let column = 0; column < columns; column++) {
        const weight = (vertical ? row : column) / extent;
        data[at + column] = old[from + column]! * (1 - weight) + data[at + column]! * weight;
      }
    }
  }
}

function area({ shape }: Tensor): number {
  return shape.at(-1)! * shape.at(-2)!;
}
