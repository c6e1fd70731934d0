/**
 * The order in which Nunchaku's files hold matrices: tile after tile, each as the threads of a GPU load it for their matrix instructions
 * (`mma.m16n8k64`). Described by axes, outermost first, as deepcompressor's packer lays them out.
 */

/** Steps along an axis of a tile: how many, and how many rows and columns each one moves. */
type Axis = readonly [steps: number, rows: number, columns: number];

export interface TileOrder {
  /** Of a tile. */
  readonly rows: number;
  readonly columns: number;
  readonly axes: readonly Axis[];
  /** Whether tiles follow each other down the columns. Default: along the rows. */
  readonly downwards?: boolean;
}

/** 4-bit codes of a weight [out, in]. */
export const codeTiles: TileOrder = {
  rows: 128,
  columns: 64,
  axes: [
    [8, 16, 0],
    [8, 1, 0],
    [4, 0, 8],
    [2, 8, 0],
    [2, 0, 32],
    [8, 0, 1],
  ],
};

/** Scales [out, blocks], and what there is one of for each output or input. */
export const scaleTiles: TileOrder = {
  rows: 128,
  columns: 1,
  axes: [
    [8, 16, 0],
    [4, 2, 0],
    [2, 8, 0],
    [2, 1, 0],
  ],
};

/** The factor [out, rank] of a low-rank branch. */
export const upTiles: TileOrder = {
  rows: 16,
  columns: 16,
  axes: [
    [8, 1, 0],
    [4, 0, 2],
    [2, 8, 0],
    [2, 0, 8],
    [2, 0, 1],
  ],
};

/** The factor [rank, in]. */
export const downTiles: TileOrder = { ...upTiles, downwards: true };

/** 4-bit codes of a modulation [out, in], with zero points (TinyChat's layout). */
export const modulationTiles: TileOrder = {
  rows: 4,
  columns: 64,
  axes: [
    [4, 1, 0],
    [2, 0, 32],
    [8, 0, 1],
    [4, 0, 8],
  ],
};

type Numbers = Uint8Array | Float32Array;

/** A matrix row by row, from the order of its tiles. Both sides have to be divisible by those of a tile. */
export function fromTiles<Values extends Numbers>(
  stored: Values,
  { rows, columns }: { rows: number; columns: number },
  tile: TileOrder,
): Values {
  const places = placesOf(tile, columns);
  const result = new (stored.constructor as new (length: number) => Values)(rows * columns);
  const [down, across] = [rows / tile.rows, columns / tile.columns];
  let at = 0;
  for (let i = 0; i < down * across; i++) {
    const [row, column] = tile.downwards ? [i % down, Math.floor(i / down)] : [Math.floor(i / across), i % across];
    const start = row * tile.rows * columns + column * tile.columns;
    for (const place of places) result[start + place] = stored[at++]!;
  }
  return result;
}

/** The other way. */
export function toTiles<Values extends Numbers>(
  values: Values,
  size: { rows: number; columns: number },
  tile: TileOrder,
): Values {
  const order = fromTiles(
    Float32Array.from(values, (_, i) => i),
    size,
    tile,
  );
  const result = values.slice() as Values;
  for (const [i, place] of order.entries()) result[place] = values[i]!;
  return result;
}

/** Where in a matrix of so many columns the numbers of its first tile are. */
function placesOf({ axes }: TileOrder, columns: number): number[] {
  return axes.reduce<number[]>(
    (places, [steps, down, across]) =>
      places.flatMap((place) => Array.from({ length: steps }, (_, i) => place + i * (down * columns + across))),
    [0],
  );
}

/** Codes of 4 bits, two to a byte with the earlier one low. */
export function nibbles(bytes: Uint8Array): Uint8Array {
  const codes = new Uint8Array(2 * bytes.length);
  for (const [i, byte] of bytes.entries()) {
    codes[2 * i] = byte & 15;
    codes[2 * i + 1] = byte >> 4;
  }
  return codes;
}
