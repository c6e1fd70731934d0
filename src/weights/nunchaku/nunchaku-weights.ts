/**
 * Files of Nunchaku (SVDQuant in int4) under Diffusers' names: fused layers cut, halves of a layer put together, as numbers or held in
 * formats that mean the same. Nunchaku itself rounds activations to 4 bits too; here they stay in float32.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { lengthOf, type Range, select } from '../../tensor/selection.ts';
import { floatTensor, type Shape, sizeOf, Tensor } from '../../tensor/tensor.ts';
import { withHeldFormats } from '../formats/held-formats.ts';
import { partsOf, type WeightFormat } from '../formats/weight-format.ts';
import { fill, patternOf } from '../names/name-table.ts';
import { derivedSource, type WeightSource } from '../weight-source.ts';
import {
  describeLayer,
  groupSize,
  type PackedLayer,
  packedParts,
  readBias,
  readDown,
  readRows,
  readSmooth,
  signedCodes,
  type UnpackedRows,
} from './packed-layer.ts';
import { packedLayers, plainName } from './packed-names.ts';

/** One of Diffusers' layers: rows of a packed one, or several packed ones side by side. */
interface Layer {
  readonly pieces: readonly { readonly layer: PackedLayer; readonly first: number }[];
  readonly rows: number;
  readonly columns: number;
}

/** Whether names are those of a file that Nunchaku has packed. */
export function isPackedByNunchaku(names: Iterable<string>): boolean {
  const all = [...names];
  return all.some((name) => name.endsWith('.qweight')) && all.some((name) => name.endsWith('.wscales'));
}

/** @throws DejaDitError UNSUPPORTED naming a layer that is packed in another way, INVALID_FILE naming tensors that do not fit */
export function withNunchakuLayers(source: WeightSource): WeightSource {
  const { layers, packed } = findLayers(source);
  const plain = new Map<string, string>();
  for (const name of source.names) {
    if (packed.has(name.replace(packedParts, ''))) continue;
    plain.set(plainName(name), name);
  }
  const layerOf = (name: string, end: 'weight' | 'bias') =>
    name.endsWith(`.${end}`) ? layers.get(name.slice(0, -end.length - 1)) : undefined;
  const original = (name: string) => plain.get(name) ?? name;
  const isOurs = (name: string) => layerOf(name, 'weight') !== undefined || layerOf(name, 'bias') !== undefined;
  const read: WeightSource['read'] = async (name, options) => {
    const weight = layerOf(name, 'weight');
    if (weight) return numbersOf(source, weight, [{ from: 0, to: weight.rows }]);
    const bias = layerOf(name, 'bias');
    return bias ? biasOf(source, bias) : source.read(original(name), options);
  };
  const result = derivedSource(source, {
    names: [...plain.keys(), ...[...layers.keys()].flatMap((name) => [`${name}.weight`, `${name}.bias`])],
    has: (name) => isOurs(name) || plain.has(name),
    info(name) {
      const [weight, bias] = [layerOf(name, 'weight'), layerOf(name, 'bias')];
      const layer = weight ?? bias;
      if (!layer) return source.info(original(name));
      const shape = weight ? [layer.rows, layer.columns] : [layer.rows];
      const { file } = source.info(`${layer.pieces[0]!.layer.name}.qweight`);
      return { dtype: 'float32', shape, bytes: 4 * sizeOf(shape), file };
    },
    read,
    async readPart(name, selection, options) {
      const weight = layerOf(name, 'weight');
      if (!weight)
        return isOurs(name) ? select(await read(name), selection) : source.readPart(original(name), selection, options);
      const [rows, ...others] = selection;
      return select(await numbersOf(source, weight, rows ?? [{ from: 0, to: weight.rows }]), [undefined, ...others]);
    },
    async readInto(name, target) {
      if (!isOurs(name)) return source.readInto(original(name), target);
      const { buffer, byteOffset, byteLength } = (await read(name)).data;
      target.set(new Uint8Array(buffer, byteOffset, byteLength));
    },
    async readMany(names, onTensor, options) {
      const wanted = [...new Set(names)];
      const theirs = new Map(wanted.filter((name) => !isOurs(name)).map((name) => [original(name), name]));
      await source.readMany(theirs.keys(), (name, tensor) => onTensor(theirs.get(name)!, tensor), options);
      for (const name of wanted) if (isOurs(name)) await onTensor(name, await read(name, options));
    },
  });
  return {
    ...result,
    stored: {
      preferred: true,
      hold(weights) {
        const held = new Map<string, { format: WeightFormat; shape: Shape }>();
        for (const name of weights) {
          const layer = layerOf(name, 'weight');
          if (layer) held.set(name, { format: formatOf(layer), shape: [layer.rows, layer.columns] });
        }
        const readParts = async (name: string, rows?: readonly Range[]) => {
          const layer = layerOf(name, 'weight')!;
          return partsFor(source, layer, rows ?? [{ from: 0, to: layer.rows }]);
        };
        return withHeldFormats(result, { layers: held, readParts });
      },
    },
  };
}

/** Diffusers' layers, and the names of the packed ones. */
function findLayers(source: WeightSource): { layers: ReadonlyMap<string, Layer>; packed: ReadonlySet<string> } {
  const layers = new Map<string, Layer>();
  const packed = new Set<string>();
  const names = source.names
    .filter((name) => name.endsWith('.qweight'))
    .map((name) => name.slice(0, -'.qweight'.length));
  // In the order of the table, which is that of the columns of what is put together.
  for (const [original, target] of Object.entries(packedLayers)) {
    const pattern = patternOf(original);
    for (const name of names) {
      const numbers = pattern.exec(name)?.slice(1);
      if (!numbers) continue;
      const layer = describeLayer(source, name, target);
      packed.add(name);
      const rows = layer.rows / target.into.length;
      for (const [i, into] of target.into.entries()) {
        const module = fill(into, numbers);
        const before = layers.get(module);
        if (before && before.rows !== rows) throw unlike(module, layer, source);
        layers.set(module, {
          pieces: [...(before?.pieces ?? []), { layer, first: i * rows }],
          rows,
          columns: (before?.columns ?? 0) + layer.columns,
        });
      }
    }
  }
  const unknown = names.find((name) => !packed.has(name));
  if (unknown !== undefined)
    throw new DejaDitError(
      'UNSUPPORTED',
      `layer ${quote(unknown)} is packed by Nunchaku for its CUDA kernels, and is none of FLUX.1 or Qwen-Image, which are read`,
      { path: source.info(`${unknown}.qweight`).file },
    );
  return { layers, packed };
}

function unlike(module: string, { name }: PackedLayer, source: WeightSource): DejaDitError {
  const message = `layer ${quote(name)} has other outputs than what stands beside it in ${module}`;
  return new DejaDitError('INVALID_FILE', message, { path: source.info(`${name}.qweight`).file });
}

/** Pieces that read the same inputs in parts. */
async function rowsOf(source: WeightSource, { pieces }: Layer, range: Range): Promise<UnpackedRows[]> {
  return Promise.all(
    pieces.map(({ layer, first }) => readRows(source, layer, { from: first + range.from, to: first + range.to })),
  );
}

/** Of a piece without a branch none. */
const rankOf = ({ pieces }: Layer): number => pieces.reduce((sum, { layer }) => sum + (layer.rank ?? 0), 0);

const isModulation = ({ pieces }: Layer): boolean => pieces[0]!.layer.rank === undefined;

function formatOf(layer: Layer): WeightFormat {
  if (isModulation(layer)) return { kind: 'affine', bits: 4, blockSize: 32 };
  const residual = { kind: 'table', blockSize: groupSize } as const;
  return { kind: 'low-rank', rank: rankOf(layer), smooth: true, residual, branch: 'float32' };
}

async function partsFor(source: WeightSource, layer: Layer, ranges: readonly Range[]): Promise<Record<string, Tensor>> {
  const { pieces, columns } = layer;
  const count = lengthOf(ranges);
  const specs = partsOf(formatOf(layer), [count, columns]);
  const read = await Promise.all(ranges.map((range) => rowsOf(source, layer, range)));
  // Of each piece all rows, one range after the other.
  const joined = pieces.map((_, i) => {
    const of = read.map((found) => found[i]!);
    const all = (part: 'scales' | 'offsets' | 'up') =>
      concatenated(of.map((found) => found[part] ?? new Float32Array()));
    return {
      codes: concatenated(of.map(({ codes }) => codes)),
      scales: all('scales'),
      offsets: all('offsets'),
      up: all('up'),
    };
  });
  const beside = <Values extends Uint8Array | Float32Array>(values: readonly Values[]) => sideBySide(values, count);
  const codes = beside(joined.map((piece) => piece.codes));
  const part = (name: string, values: Float32Array) => floatTensor(values, specs[name]!.shape);
  const scales = beside(joined.map((piece) => piece.scales));
  if (isModulation(layer)) {
    const twice = (values: Float32Array) => Float32Array.from({ length: 2 * values.length }, (_, i) => values[i >> 1]!);
    return {
      codes: new Tensor('uint8', halvesOfBlocks(codes, 32), specs['codes']!.shape),
      scale: part('scale', twice(scales)),
      offset: part('offset', twice(joined[0]!.offsets)),
    };
  }
  const rank = rankOf(layer);
  const smooth = concatenated(await Promise.all(pieces.map(({ layer: each }) => readSmooth(source, each))));
  const down = new Float32Array(rank * columns);
  let [row, column] = [0, 0];
  for (const { layer: each } of pieces) {
    const own = await readDown(source, each);
    for (let r = 0; r < each.rank!; r++)
      for (let c = 0; c < each.columns; c++)
        // The branch takes inputs that are not smoothed, and gets smoothed ones.
        down[(row + r) * columns + column + c] = own[r * each.columns + c]! * smooth[column + c]!;
    row += each.rank!;
    column += each.columns;
  }
  const pairs = Uint8Array.from({ length: codes.length / 2 }, (_, i) => (codes[2 * i]! << 4) | codes[2 * i + 1]!);
  return {
    codes: new Tensor('uint8', pairs, specs['codes']!.shape),
    scale: part('scale', scales),
    // Whoever reads a part owns its memory.
    table: part('table', signedCodes.slice()),
    down: part('down', down),
    up: part('up', beside(joined.map((piece) => piece.up))),
    smooth: part('smooth', smooth),
  };
}

/** Rows of a weight as float32. */
async function numbersOf(source: WeightSource, layer: Layer, ranges: readonly Range[]): Promise<Tensor> {
  const { pieces } = layer;
  const count = lengthOf(ranges);
  const matrices = await Promise.all(
    pieces.map(async ({ layer: each, first }) => {
      const { columns, rank = 0 } = each;
      const [smooth, down] =
        each.rank === undefined ? [] : await Promise.all([readSmooth(source, each), readDown(source, each)]);
      const result = new Float32Array(count * columns);
      let start = 0;
      for (const { from, to } of ranges) {
        const { codes, scales, offsets, up } = await readRows(source, each, { from: first + from, to: first + to });
        for (let row = 0; row < to - from; row++) {
          for (let i = 0; i < columns; i++) {
            const at = row * columns + i;
            const group = Math.floor(at / groupSize);
            if (offsets) {
              result[start + at] = codes[at]! * scales[group]! + offsets[group]!;
              continue;
            }
            let branch = 0;
            for (let r = 0; r < rank; r++) branch += up![row * rank + r]! * down![r * columns + i]!;
            result[start + at] = (signedCodes[codes[at]!]! * scales[group]!) / smooth![i]! + branch;
          }
        }
        start += (to - from) * columns;
      }
      return result;
    }),
  );
  return floatTensor(sideBySide(matrices, count), [count, layer.columns]);
}

async function biasOf(source: WeightSource, { pieces, rows }: Layer): Promise<Tensor> {
  const sum = new Float32Array(rows);
  for (const { layer, first } of pieces) {
    const bias = await readBias(source, layer);
    for (let i = 0; i < rows; i++) sum[i]! += bias[first + i]!;
  }
  return floatTensor(sum);
}

function concatenated<Values extends Uint8Array | Float32Array>(pieces: readonly Values[]): Values {
  const values = pieces[0]!.constructor as new (length: number) => Values;
  const result = new values(pieces.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const piece of pieces) {
    result.set(piece, end);
    end += piece.length;
  }
  return result;
}

/** Matrices of so many rows as one. */
function sideBySide<Values extends Uint8Array | Float32Array>(matrices: readonly Values[], rows: number): Values {
  const [first] = matrices as [Values];
  if (matrices.length === 1) return first;
  const widths = matrices.map(({ length }) => length / rows);
  const width = widths.reduce((sum, each) => sum + each, 0);
  const result = new (first.constructor as new (length: number) => Values)(rows * width);
  let column = 0;
  for (const [i, matrix] of matrices.entries()) {
    const own = widths[i]!;
    for (let row = 0; row < rows; row++) result.set(matrix.subarray(row * own, (row + 1) * own), row * width + column);
    column += own;
  }
  return result;
}

/** Codes two to a byte, the first half of every block in the low halves. */
function halvesOfBlocks(codes: Uint8Array, block: number): Uint8Array {
  const half = block / 2;
  return Uint8Array.from({ length: codes.length / 2 }, (_, i) => {
    const at = Math.floor(i / half) * block + (i % half);
    return codes[at]! | (codes[at + half]! << 4);
  });
}
