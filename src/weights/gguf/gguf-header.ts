/**
 * The header of a GGUF file: a magic word, counts, metadata of many types, and every tensor's name, shape, type and place. Files come from
 * strangers, so nothing in it is believed before it has been checked against the file's real size. What the blocks hold is in
 * `block-types.ts`.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { type OpenedFile, openFile } from '../../files/files.ts';
import { bytesPerElement, type DType } from '../../tensor/dtype.ts';
import { sizeOf } from '../../tensor/tensor.ts';
import type { TensorInfo } from '../safetensors/safetensors-header.ts';
import { blockTypes } from './block-types.ts';
import { GgufCursor, GgufTooShort } from './gguf-cursor.ts';

export interface GgufHeader {
  /** In file order. Quantised tensors are bytes [rows, bytes of a row] that are `encoded`. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** `general.architecture`: `flux`, `qwen_image`, `t5encoder`. */
  readonly architecture: string | undefined;
}

/** GGML's numbers of types, those that are read and those that are only named. */
const typeNames: readonly (string | undefined)[] = [
  ...['F32', 'F16', 'Q4_0', 'Q4_1', undefined, undefined, 'Q5_0', 'Q5_1', 'Q8_0', 'Q8_1'],
  ...['Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K', 'Q8_K', 'IQ2_XXS', 'IQ2_XS', 'IQ3_XXS', 'IQ1_S'],
  ...['IQ4_NL', 'IQ3_S', 'IQ2_S', 'IQ4_XS', 'I8', 'I16', 'I32', 'I64', 'F64', 'IQ1_M', 'BF16'],
  ...[undefined, undefined, undefined, 'TQ1_0', 'TQ2_0', undefined, undefined, undefined, 'MXFP4'],
];

const plainTypes: Readonly<Record<string, DType>> = {
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  F64: 'float64',
  I8: 'int8',
  I16: 'int16',
  I32: 'int32',
  I64: 'int64',
};

const magic = 0x46554747;
/** Read at first, and the most that a header may take: a text encoder's vocabulary has some ten MB. */
const firstBytes = 1 << 20;
const maxHeaderBytes = 256 << 20;
const maxAxes = 8;

export function isGguf(path: string): boolean {
  return /\.gguf$/i.test(path);
}

/**
 * Opens `path` and checks its header; the caller closes the file.
 * @throws DejaDitError `NOT_FOUND` without such a file, `INVALID_FILE` if the header is not what the format allows, `UNSUPPORTED` naming
 *   the type of a tensor that is not read
 */
export async function openWithGgufHeader(path: string): Promise<{ file: OpenedFile; header: GgufHeader }> {
  const file = await openFile(path);
  try {
    return { file, header: await readHeader(file, path) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readHeader(file: OpenedFile, path: string): Promise<GgufHeader> {
  const most = Math.min(file.size, maxHeaderBytes);
  for (let bytes = Math.min(most, firstBytes); ; bytes = Math.min(most, 4 * bytes)) {
    const start = new Uint8Array(bytes);
    for (let done = 0; done < bytes; ) {
      const read = await file.read(start.subarray(done), done);
      if (read === 0) throw new DejaDitError('INVALID_FILE', 'ends inside its header', { path });
      done += read;
    }
    try {
      return parseGgufHeader(start, { path, fileBytes: file.size });
    } catch (error) {
      if (!(error instanceof GgufTooShort)) throw error;
      if (bytes < most) continue;
      const problem = most < file.size ? `has a header of more than ${maxHeaderBytes} bytes` : 'ends inside its header';
      throw new DejaDitError('INVALID_FILE', problem, { path });
    }
  }
}

interface RawTensor {
  readonly name: string;
  /** As Diffusers has it: rows first. */
  readonly shape: readonly number[];
  readonly type: string;
  readonly offset: number;
}

/**
 * Checks a header and makes its offsets absolute.
 * @param start of the file, the header's bytes at least
 * @throws GgufTooShort if they are fewer
 */
export function parseGgufHeader(
  start: Uint8Array,
  { path, fileBytes }: { path: string; fileBytes: number },
): GgufHeader {
  const cursor = new GgufCursor(start, path);
  if (cursor.uint32() !== magic) throw cursor.bad('does not begin with GGUF');
  const version = cursor.uint32();
  if (version !== 2 && version !== 3) throw cursor.bad(`is GGUF of version ${version}; 2 and 3 are read`);
  const tensorCount = cursor.count('tensors', { bytesEach: 24, fileBytes });
  const entryCount = cursor.count('entries of metadata', { bytesEach: 12, fileBytes });
  const metadata = new Map<string, unknown>();
  for (let i = 0; i < entryCount; i++) {
    const key = cursor.text();
    metadata.set(key, cursor.value(cursor.uint32()));
  }
  const raw = Array.from({ length: tensorCount }, () => parseTensor(cursor, metadata));
  if (Number(metadata.get('split.count') ?? 1) > 1)
    throw new DejaDitError('UNSUPPORTED', 'is one of several files of a model; join them with gguf-split --merge', {
      path,
    });
  const alignment = metadata.get('general.alignment') ?? 32;
  if (typeof alignment !== 'number' || alignment < 1 || alignment > 1 << 20 || alignment % 8 !== 0)
    throw cursor.bad(`general.alignment is ${quote(alignment)}`);
  const dataStart = Math.ceil(cursor.position / alignment) * alignment;
  const tensors = new Map<string, TensorInfo>();
  for (const tensor of raw.toSorted((a, b) => a.offset - b.offset)) {
    if (tensors.has(tensor.name)) throw cursor.bad(`has tensor ${quote(tensor.name)} twice`);
    tensors.set(tensor.name, place(tensor, { cursor, dataStart, path }));
  }
  requirePlaces(tensors, { cursor, fileBytes });
  const architecture = metadata.get('general.architecture');
  return { tensors, architecture: typeof architecture === 'string' ? architecture : undefined };
}

function parseTensor(cursor: GgufCursor, metadata: ReadonlyMap<string, unknown>): RawTensor {
  const name = cursor.text();
  // As a key of an ordinary object this name would set a prototype instead of holding a tensor.
  if (name === '__proto__') throw cursor.bad(`a tensor cannot be named ${quote(name)}`);
  const axes = cursor.uint32();
  if (axes > maxAxes) throw cursor.bad(`tensor ${quote(name)} has ${axes} axes`);
  const sizes = Array.from({ length: axes }, () => cursor.size());
  const number = cursor.uint32();
  const type = typeNames[number] ?? `number ${number}`;
  const offset = cursor.size();
  const stored = sizes.toReversed();
  // ComfyUI folds the axes of what GGUF has no shape for.
  const original = metadata.get(`comfy.gguf.orig_shape.${name}`);
  const isShape = Array.isArray(original) && original.every((size) => Number.isSafeInteger(size) && size >= 0);
  const shape = isShape && sizeOf(original) === sizeOf(stored) ? (original as number[]) : stored;
  return { name, shape, type, offset };
}

function place(
  { name, shape, type, offset }: RawTensor,
  { cursor, dataStart, path }: { cursor: GgufCursor; dataStart: number; path: string },
): TensorInfo {
  const numbers = sizeOf(shape);
  if (!Number.isSafeInteger(numbers)) throw cursor.bad(`tensor ${quote(name)} has the shape [${shape}]`);
  const where = { file: path, offset: dataStart + offset };
  const dtype = Object.hasOwn(plainTypes, type) ? plainTypes[type] : undefined;
  if (dtype) return { dtype, shape, bytes: numbers * bytesPerElement(dtype), ...where };
  const block = blockTypes.get(type);
  if (!block) {
    throw new DejaDitError(
      'UNSUPPORTED',
      `tensor ${quote(name)} is of the type ${type}, which is not read; ${[...Object.keys(plainTypes).slice(0, 3), ...blockTypes.keys()].join(', ')} are`,
      { path },
    );
  }
  if (numbers % block.numbers !== 0 || numbers === 0)
    throw cursor.bad(`tensor ${quote(name)}: [${shape}] is not made of blocks of ${block.numbers} numbers`);
  const bytes = (numbers / block.numbers) * block.bytes;
  // Rows of whole blocks can be cut; a folded tensor is one row.
  const rows = (numbers / shape[0]!) % block.numbers === 0 ? shape[0]! : 1;
  return { dtype: 'uint8', shape: [rows, bytes / rows], bytes, encoded: { type, shape }, ...where };
}

function requirePlaces(
  tensors: ReadonlyMap<string, TensorInfo>,
  { cursor, fileBytes }: { cursor: GgufCursor; fileBytes: number },
): void {
  let end = 0;
  let previous = '';
  for (const [name, { offset, bytes }] of tensors) {
    if (offset < end) throw cursor.bad(`tensor ${quote(name)} overlaps tensor ${quote(previous)}`);
    end = offset + bytes;
    previous = name;
    if (end > fileBytes)
      throw cursor.bad(`tensor ${quote(name)} ends at byte ${end}, the file has ${fileBytes}: truncated or damaged`);
  }
}
