/** Weights that bitsandbytes has packed into 4 bits (NF4, FP4), as numbers, or held in a format that means the same to the last bit. */
import { lengthOf, type Range, select } from '../../tensor/selection.ts';
import { floatTensor, type Shape, sizeOf, Tensor } from '../../tensor/tensor.ts';
import { withHeldFormats } from '../formats/held-formats.ts';
import { type FormatOf, misfit, partsOf } from '../formats/weight-format.ts';
import { derivedSource, type WeightSource } from '../weight-source.ts';
import { encodedInfo, type FourBits, isBeside } from './quant-state.ts';

export interface PackedLayers {
  /** By name, as `readQuantStates` gives them. */
  layers: ReadonlyMap<string, FourBits>;
  /** What has the tensors beside the weights, under the names of `layers`. */
  packed: WeightSource;
}

/** A source of packed weights, which says of each what it stands for; the tensors beside them are no tensors any more. */
export function describedSource(source: WeightSource, layers: ReadonlyMap<string, FourBits>): WeightSource {
  return derivedSource(source, {
    names: source.names.filter((name) => !isBeside(name, layers)),
    has: (name) => source.has(name) && !isBeside(name, layers),
    info(name) {
      const layer = layers.get(name);
      const info = source.info(name);
      return layer ? encodedInfo(info, name, layer) : info;
    },
  });
}

/**
 * A source whose packed weights are read as float32.
 * @param source whose tensors say what they stand for (`encoded`): whole weights, or rows of them
 */
export function withFourBits(source: WeightSource, { layers, packed }: PackedLayers): WeightSource {
  const tables = new Map<string, Promise<Tables>>();
  const tablesOf = (weight: string) => {
    const found = tables.get(weight) ?? readTables(packed, weight);
    tables.set(weight, found);
    return found;
  };
  const placeOf = (name: string) => {
    const { encoded } = source.info(name);
    const layer = encoded?.within && layers.get(encoded.within.weight);
    return layer ? { ...encoded!.within!, shape: encoded!.shape, layer } : undefined;
  };
  /** The bytes and scales of some rows that follow each other. */
  const readRows = async (name: string, { from, to }: Range) => {
    const { weight, row, shape, layer } = placeOf(name)!;
    const inner = shape[1]!;
    const [first, end] = [(row + from) * inner, (row + to) * inner];
    // In a folder the first axis counts bytes.
    const isInRows = source.info(name).shape[0] === shape[0];
    const bytes = isInRows ? { from, to } : { from: Math.floor((from * inner) / 2), to: Math.ceil((to * inner) / 2) };
    const blocks = { from: Math.floor(first / layer.blockSize), to: Math.ceil(end / layer.blockSize) };
    const [{ data }, scales] = await Promise.all([
      source.readPart(name, [[bytes]]),
      readScales(packed, { weight, layer, blocks, tables: await tablesOf(weight) }),
    ]);
    return { bytes: data as Uint8Array, scales, blocks, first, end };
  };
  const decodedRows = async (name: string, range: Range): Promise<Float32Array> => {
    const { weight, layer } = placeOf(name)!;
    const { table } = await tablesOf(weight);
    const { bytes, scales, blocks, first, end } = await readRows(name, range);
    const values = new Float32Array(end - first);
    // A row of odd length may begin in the middle of a byte.
    const start = first - (first % 2);
    for (let i = first; i < end; i++) {
      const byte = bytes[(i - start) >> 1]!;
      const scale = scales[Math.floor(i / layer.blockSize) - blocks.from]!;
      values[i - first] = table[i % 2 === 0 ? byte >> 4 : byte & 15]! * scale;
    }
    return values;
  };
  const decoded = async (name: string, rows: readonly Range[]): Promise<Tensor> => {
    const inner = placeOf(name)!.shape[1]!;
    const pieces = await Promise.all(rows.map((range) => decodedRows(name, range)));
    return floatTensor(joined(pieces), [lengthOf(rows), inner]);
  };
  const all = (shape: Shape): Range[] => [{ from: 0, to: shape[0]! }];
  const read: WeightSource['read'] = async (name, options) => {
    const place = placeOf(name);
    return place ? decoded(name, all(place.shape)) : source.read(name, options);
  };
  const result = derivedSource(source, {
    info(name) {
      const place = placeOf(name);
      if (!place) return source.info(name);
      const { encoded, ...info } = source.info(name);
      const stored = { type: encoded!.type, bytes: info.bytes };
      return { ...info, dtype: 'float32', shape: place.shape, bytes: 4 * sizeOf(place.shape), stored };
    },
    read,
    async readPart(name, selection, options) {
      const place = placeOf(name);
      if (!place) return source.readPart(name, selection, options);
      const [rows, ...others] = selection;
      return select(await decoded(name, rows ?? all(place.shape)), [undefined, ...others]);
    },
    async readInto(name, target) {
      if (!placeOf(name)) return source.readInto(name, target);
      const { buffer, byteOffset, byteLength } = (await read(name)).data;
      target.set(new Uint8Array(buffer, byteOffset, byteLength));
    },
    async readMany(names, onTensor, options) {
      const wanted = [...new Set(names)];
      for (const name of wanted) source.info(name);
      await source.readMany(
        wanted.filter((name) => !placeOf(name)),
        onTensor,
        options,
      );
      for (const name of wanted) if (placeOf(name)) await onTensor(name, await read(name, options));
    },
  });
  return {
    ...result,
    stored: {
      preferred: true,
      hold(weights) {
        const held = new Map<string, { format: FormatOf<'table'>; shape: Shape }>();
        for (const name of weights) {
          const place = source.has(name) ? placeOf(name) : undefined;
          if (!place) continue;
          const { shape, layer } = place;
          const format = { kind: 'table' as const, blockSize: layer.blockSize };
          if (misfit(format, shape) === undefined) held.set(name, { format, shape });
        }
        const readParts = async (name: string, rows?: readonly Range[]) => {
          const { format, shape } = held.get(name)!;
          const ranges = rows ?? all(shape);
          const [pieces, { table }] = await Promise.all([
            Promise.all(ranges.map((range) => readRows(name, range))),
            tablesOf(placeOf(name)!.weight),
          ]);
          const { codes, scale } = partsOf(format, [lengthOf(ranges), shape[1]!]);
          return {
            codes: new Tensor('uint8', joined(pieces.map(({ bytes }) => bytes)), codes!.shape),
            scale: floatTensor(joined(pieces.map(({ scales }) => scales)), scale!.shape),
            // Whoever reads a part owns its memory.
            table: floatTensor(table.slice(), [16]),
          };
        };
        return withHeldFormats(result, { layers: held, readParts });
      },
    },
  };
}

/** What codes stand for. */
interface Tables {
  readonly table: Float32Array;
  /** Of scales that are codes themselves: what these stand for, and their scales. */
  readonly nested: { readonly map: Float32Array; readonly scales: Float32Array } | undefined;
}

async function readTables(packed: WeightSource, weight: string): Promise<Tables> {
  const numbers = async (part: string) => (await packed.read(`${weight}.${part}`)).f32;
  const table = await numbers('quant_map');
  if (!packed.has(`${weight}.nested_absmax`)) return { table, nested: undefined };
  return { table, nested: { map: await numbers('nested_quant_map'), scales: await numbers('nested_absmax') } };
}

async function readScales(
  packed: WeightSource,
  { weight, layer, blocks, tables }: { weight: string; layer: FourBits; blocks: Range; tables: Tables },
): Promise<Float32Array> {
  const { data } = await packed.readPart(`${weight}.absmax`, [[blocks]]);
  if (data instanceof Float32Array) return data;
  const { map, scales } = tables.nested!;
  const { blockSize, offset } = layer.nested!;
  // Each step in single precision, as bitsandbytes computes.
  return Float32Array.from(data as Uint8Array, (code, i) => {
    const scale = scales[Math.floor((blocks.from + i) / blockSize)]!;
    return Math.fround(map[code]! * scale) + Math.fround(offset);
  });
}

function joined<Values extends Uint8Array | Float32Array>(pieces: readonly Values[]): Values {
  const [first] = pieces as [Values];
  if (pieces.length === 1) return first;
  const values = first.constructor as new (length: number) => Values;
  const all = new values(pieces.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const piece of pieces) {
    all.set(piece, end);
    end += piece.length;
  }
  return all;
}
