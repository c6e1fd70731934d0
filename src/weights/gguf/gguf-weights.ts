/** Quantised tensors of GGUF files as numbers, or held in formats that mean the same to the last bit. */
import { lengthOf, type Range, select, selectedShape } from '../../tensor/selection.ts';
import { type Shape, sizeOf, Tensor } from '../../tensor/tensor.ts';
import { rowsOfParts, withHeldFormats } from '../formats/held-formats.ts';
import { partsOf, type WeightFormat } from '../formats/weight-format.ts';
import { derivedSource, type WeightSource } from '../weight-source.ts';
import { type BlockType, blockTypes, decodeBlocks, unpackBlocks } from './block-types.ts';

/** A source whose encoded tensors are read as float32. */
export function withGgufBlocks(source: WeightSource): WeightSource {
  const typeOf = (name: string) => blockTypes.get(source.info(name).encoded?.type ?? '');
  const decoded = (name: string, tensor: Tensor): Tensor => {
    const { encoded } = source.info(name);
    const type = typeOf(name);
    if (!encoded || !type) return tensor;
    return new Tensor('float32', decodeBlocks(type, bytesOf(tensor)), encoded.shape);
  };
  const read: WeightSource['read'] = async (name, options) => decoded(name, await source.read(name, options));
  return derivedSource(source, {
    info(name) {
      const { encoded, ...info } = source.info(name);
      if (!encoded) return info;
      return { ...info, dtype: 'float32', shape: encoded.shape, bytes: 4 * sizeOf(encoded.shape) };
    },
    read,
    async readPart(name, selection, options) {
      const { encoded, shape } = source.info(name);
      const type = typeOf(name);
      if (!encoded || !type) return source.readPart(name, selection, options);
      // A folded tensor is read whole.
      if (encoded.shape.length !== 2 || shape[0] !== encoded.shape[0]) return select(await read(name), selection);
      const [rows, columns] = selection;
      const blocks = columns && wholeBlocks(columns, type);
      const data = bytesOf(await source.readPart(name, [rows, blocks?.bytes], options));
      const count = rows ? lengthOf(rows) : shape[0]!;
      const part = new Tensor('float32', decodeBlocks(type, data), [count, blocks?.numbers ?? encoded.shape[1]!]);
      return select(part, [undefined, blocks?.within]);
    },
    async readInto(name, target) {
      if (!typeOf(name)) return source.readInto(name, target);
      const { buffer, byteOffset, byteLength } = (await read(name)).data;
      target.set(new Uint8Array(buffer, byteOffset, byteLength));
    },
    readMany: (names, onTensor, options) =>
      source.readMany(names, (name, tensor) => onTensor(name, decoded(name, tensor)), options),
    stored: {
      preferred: true,
      hold(weights) {
        const layers = new Map<string, { format: WeightFormat; shape: Shape }>();
        for (const name of weights) {
          const type = source.has(name) ? typeOf(name) : undefined;
          const { encoded } = type ? source.info(name) : {};
          if (type && encoded?.shape.length === 2) layers.set(name, { format: formatOf(type), shape: encoded.shape });
        }
        const readParts = async (name: string, rows?: readonly Range[]) => {
          const { format, shape } = layers.get(name)!;
          // A folded tensor is read whole.
          const rest = rows && source.info(name).shape[0] !== shape[0] ? rows : undefined;
          const read = rows && !rest ? [rows, undefined] : [];
          const data = bytesOf(await source.readPart(name, read));
          const parts = partsFor(typeOf(name)!, data, selectedShape(shape, read));
          return rest ? rowsOfParts(parts, { format, rows: rest }) : parts;
        };
        return withHeldFormats(withGgufBlocks(source), { layers, readParts });
      },
    },
  });
}

function bytesOf({ data }: Tensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/**
 * Columns as the bytes of the blocks that they lie in.
 * @returns `numbers` in these blocks, and where `within` them the columns are
 */
function wholeBlocks(columns: readonly Range[], type: BlockType) {
  let numbers = 0;
  const bytes: Range[] = [];
  const within: Range[] = [];
  for (const { from, to } of columns) {
    const [first, last] = [Math.floor(from / type.numbers), Math.ceil(to / type.numbers)];
    bytes.push({ from: first * type.bytes, to: last * type.bytes });
    const start = numbers + from - first * type.numbers;
    within.push({ from: start, to: start + to - from });
    numbers += (last - first) * type.numbers;
  }
  return { bytes, within, numbers };
}

function formatOf({ codes, group }: BlockType): WeightFormat {
  if (codes === 'signed') return { kind: 'block', bits: 8, blockSize: group };
  return { kind: 'affine', bits: codes === 'nibbles' ? 4 : 8, blockSize: group };
}

function partsFor(type: BlockType, data: Uint8Array, shape: Shape): Record<string, Tensor> {
  const { codes, scales, offsets } = unpackBlocks(type, data);
  const { codes: codeSpec, scale, offset } = partsOf(formatOf(type), shape);
  const part = (values: Uint8Array | Float32Array, spec: { shape: Shape } | undefined) =>
    new Tensor(values instanceof Uint8Array ? 'uint8' : 'float32', values, spec!.shape);
  return {
    codes: part(storedCodes(type, codes), codeSpec),
    scale: part(scales, scale),
    ...(offset ? { offset: part(offsets, offset) } : {}),
  };
}

/** Codes around zero as codes around 128; codes up to 15 two to a byte, a block's first half in the low halves. */
function storedCodes({ codes: kind, group }: BlockType, codes: Int8Array): Uint8Array {
  const bytes = new Uint8Array(codes.buffer);
  if (kind === 'bytes') return bytes;
  if (kind === 'signed') return bytes.map((code) => code ^ 0x80);
  const half = group / 2;
  const packed = new Uint8Array(bytes.length / 2);
  for (let i = 0; i < packed.length; i++) {
    const at = Math.floor(i / half) * group + (i % half);
    packed[i] = bytes[at]! | (bytes[at + half]! << 4);
  }
  return packed;
}
