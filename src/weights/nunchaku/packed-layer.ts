/** Reads layers that Nunchaku has packed for its CUDA kernels (SVDQuant in int4, modulations in int4 with zero points), in rows. */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { indicesOf, type Range } from '../../tensor/selection.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { WeightSource } from '../weight-source.ts';
import type { PackedTarget } from './packed-names.ts';
import {
  codeTiles,
  downTiles,
  fromTiles,
  modulationTiles,
  nibbles,
  scaleTiles,
  type TileOrder,
  upTiles,
} from './tiles.ts';

/** Numbers that share a scale. */
export const groupSize = 64;

/** What Nunchaku adds to the outputs of a GELU before it rounds them to unsigned codes. */
const geluShift = 0.171875;

/** A layer in its file. */
export interface PackedLayer {
  /** Its name there. */
  readonly name: string;
  readonly target: PackedTarget;
  readonly rows: number;
  readonly columns: number;
  /** Of the low-rank branch; undefined for a modulation, which has none. */
  readonly rank: number | undefined;
}

/** Some rows of a layer: x ↦ scale · values[code] · x / smooth + offset · x + up · down · x. */
export interface UnpackedRows {
  /** [rows, columns], of 4 bits. */
  readonly codes: Uint8Array;
  /** [rows, columns / 64]. */
  readonly scales: Float32Array;
  /** The same, of a modulation. */
  readonly offsets?: Float32Array;
  /** [rows, rank]. */
  readonly up?: Float32Array;
}

/** What codes of SVDQuant stand for: they are numbers in two's complement. */
export const signedCodes = Float32Array.from({ length: 16 }, (_, code) => (code < 8 ? code : code - 16));

/**
 * The layer of a packed weight.
 * @throws DejaDitError UNSUPPORTED for another kind of numbers, INVALID_FILE for tensors that do not fit each other
 */
export function describeLayer(source: WeightSource, name: string, target: PackedTarget): PackedLayer {
  const weight = source.info(`${name}.qweight`);
  const where = { path: source.info(`${name}.qweight`).file };
  if (
    ['wtscale', 'wcscales'].some((part) => source.has(`${name}.${part}`)) ||
    scaleType(source, name) === 'float8_e4m3fn'
  )
    throw new DejaDitError(
      'UNSUPPORTED',
      `layer ${quote(name)} is packed by Nunchaku in nvfp4, which is not read; its int4 files are (svdq-int4_…)`,
      where,
    );
  const bad = (problem: string) => new DejaDitError('INVALID_FILE', `layer ${quote(name)} ${problem}`, where);
  const isModulation = target.splits !== undefined;
  const [first, second] = weight.shape as [number, number];
  const [rows, columns] = isModulation ? [4 * first, 2 * second] : [first, 2 * second];
  const { rows: tileRows, columns: tileColumns } = isModulation ? modulationTiles : codeTiles;
  const down = isModulation ? undefined : source.info(part(source, name, 'down')).shape;
  const rank = down?.[1];
  const isWhole = rows % tileRows === 0 && columns % tileColumns === 0 && rows > 0 && columns > 0;
  if (weight.dtype !== (isModulation ? 'int32' : 'int8') || weight.shape.length !== 2 || !isWhole)
    throw bad(`has codes of the type ${weight.dtype} [${weight.shape}], which are not packed as Nunchaku packs them`);
  if (rows % (target.splits ?? target.into.length) !== 0 || (rank ?? 0) % 16 !== 0)
    throw bad(`has ${rows} rows and rank ${rank}, which cannot be cut`);
  const groups = columns / groupSize;
  const layer = { name, target, rows, columns, rank };
  const expected: [string, number, boolean?][] = isModulation
    ? [
        ['wscales', groups * rows, true],
        ['wzeros', groups * rows, true],
      ]
    : [
        ['wscales', groups * rows],
        [part(source, name, 'smooth'), columns],
        [part(source, name, 'down'), columns * rank!],
        [part(source, name, 'up'), rows * rank!],
      ];
  if (source.has(`${name}.bias`)) expected.push(['bias', rows]);
  for (const [each, size, isPadded] of expected) {
    const full = each.startsWith(name) ? each : `${name}.${each}`;
    const { shape, dtype } = source.info(full);
    const count = shape.reduce((product, axis) => product * axis, 1);
    if (/^b?float(16|32)$/.test(dtype) && (count === size || (isPadded && count > size && shape[1] === rows))) continue;
    throw bad(`has ${quote(full)} of the type ${dtype} [${shape}], not ${size} numbers`);
  }
  return layer;
}

function scaleType(source: WeightSource, name: string): string | undefined {
  return source.has(`${name}.wscales`) ? source.info(`${name}.wscales`).dtype : undefined;
}

/** By either of the names that Nunchaku has given. */
const spellings = { down: ['lora_down', 'proj_down'], up: ['lora_up', 'proj_up'], smooth: ['smooth', 'smooth_factor'] };

function part(source: WeightSource, layer: string, which: keyof typeof spellings): string {
  const names = spellings[which].map((spelling) => `${layer}.${spelling}`);
  return names.find((name) => source.has(name)) ?? names[0]!;
}

/** Tensors that lie beside packed codes. */
export const packedParts =
  /\.(qweight|wscales|wzeros|bias|lora_down|lora_up|proj_down|proj_up|smooth|smooth_orig|smooth_factor|smooth_factor_orig)$/;

/** A tensor as numbers. */
async function numbers(source: WeightSource, name: string, rows?: Range): Promise<Float32Array> {
  const options = { widen: 'float32' } as const;
  const tensor = rows ? await source.readPart(name, [[rows]], options) : await source.read(name, options);
  return tensor.float().f32;
}

/** What each input is divided by before it meets the codes, [columns]. */
export async function readSmooth(source: WeightSource, { name, columns }: PackedLayer): Promise<Float32Array> {
  return vector(await numbers(source, part(source, name, 'smooth')), columns);
}

/** The factor of the low-rank branch that takes inputs as they come, [rank, columns]. */
export async function readDown(source: WeightSource, { name, columns, rank }: PackedLayer): Promise<Float32Array> {
  return fromTiles(await numbers(source, part(source, name, 'down')), { rows: rank!, columns }, downTiles);
}

/** @param range rows of the layer, in Diffusers' order */
export async function readRows(source: WeightSource, layer: PackedLayer, range: Range): Promise<UnpackedRows> {
  return layer.rank === undefined ? modulationRows(source, layer, range) : svdqRows(source, layer, range);
}

async function svdqRows(
  source: WeightSource,
  { name, rows, columns, rank }: PackedLayer,
  { from, to }: Range,
): Promise<UnpackedRows> {
  const groups = columns / groupSize;
  // A tile of codes is made of whole rows of the tensor.
  const cut = async <Values extends Uint8Array | Float32Array>(
    width: number,
    tile: TileOrder,
    read: (whole: Range) => Promise<Values>,
  ): Promise<Values> => {
    const whole = { from: tile.rows * Math.floor(from / tile.rows), to: tile.rows * Math.ceil(to / tile.rows) };
    const values = fromTiles(await read(whole), { rows: whole.to - whole.from, columns: width }, tile);
    return values.slice((from - whole.from) * width, (to - whole.from) * width) as Values;
  };
  const scales = await numbers(source, `${name}.wscales`);
  return {
    codes: await cut(columns, codeTiles, async (whole) =>
      nibbles(bytesOf(await source.readPart(`${name}.qweight`, [[whole]]))),
    ),
    scales: fromTiles(scales, { rows, columns: groups }, scaleTiles).slice(from * groups, to * groups),
    up: await cut(rank!, upTiles, (whole) => numbers(source, part(source, name, 'up'), whole)),
  };
}

async function modulationRows(source: WeightSource, layer: PackedLayer, range: Range): Promise<UnpackedRows> {
  const { name, rows, columns } = layer;
  const groups = columns / groupSize;
  const codes = fromTiles(nibbles(bytesOf(await source.read(`${name}.qweight`))), { rows, columns }, modulationTiles);
  const [scales, zeros] = [await numbers(source, `${name}.wscales`), await numbers(source, `${name}.wzeros`)];
  const stored = indicesOf([range]).map((row) => storedRow(layer, row));
  const pick = <Values extends Uint8Array | Float32Array>(
    width: number,
    at: (row: number, i: number) => number,
    into: Values,
  ) => {
    for (const [i, row] of stored.entries()) for (let j = 0; j < width; j++) into[i * width + j] = at(row, j);
    return into;
  };
  const perGroup = (values: Float32Array) =>
    // Scales lie group by group.
    pick(groups, (row, group) => values[group * rows + row]!, new Float32Array(stored.length * groups));
  return {
    codes: pick(columns, (row, i) => codes[row * columns + i]!, new Uint8Array(stored.length * columns)),
    scales: perGroup(scales),
    offsets: perGroup(zeros),
  };
}

/** A modulation's numbers of a channel lie side by side; Diffusers has all channels of the first, then of the second, and so on. */
function storedRow({ rows, target }: PackedLayer, row: number): number {
  const splits = target.splits!;
  const channels = rows / splits;
  return (row % channels) * splits + Math.floor(row / channels);
}

/** The layer's bias in Diffusers' order, [rows]; zeros where the file has none. */
export async function readBias(source: WeightSource, layer: PackedLayer): Promise<Float32Array> {
  const { name, rows, columns, target } = layer;
  const stored = source.has(`${name}.bias`) ? await numbers(source, `${name}.bias`) : new Float32Array(rows);
  if (target.splits !== undefined) {
    // Scales are stored with the 1 that Diffusers adds to them.
    const channels = rows / target.splits;
    const isScale = (split: number) => split === 1 || split === target.splits! - 2;
    return stored.map((_, row) => stored[storedRow(layer, row)]! - (isScale(Math.floor(row / channels)) ? 1 : 0));
  }
  const bias = vector(stored, rows);
  if (!target.afterGelu) return bias;
  // What Nunchaku adds to inputs, and makes up for in the bias it stores.
  const { codes, scales } = await readRows(source, layer, { from: 0, to: rows });
  const smooth = await readSmooth(source, layer);
  return bias.map((value, row) => {
    let sum = 0;
    for (let i = 0; i < columns; i++) {
      const at = row * columns + i;
      sum += (signedCodes[codes[at]!]! * scales[Math.floor(at / groupSize)]!) / smooth[i]!;
    }
    return value + geluShift * sum;
  });
}

function vector(stored: Float32Array, size: number): Float32Array {
  return fromTiles(stored, { rows: size, columns: 1 }, scaleTiles);
}

function bytesOf({ data }: Tensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
