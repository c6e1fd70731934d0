/**
 * The header of a safetensors file: eight bytes of little-endian length, then JSON that gives every tensor's dtype,
 * shape and byte range. Files come from strangers, so nothing in the header is believed before it has been checked
 * against the file's real size. Reading tensor data is left to `safetensors-data.ts`.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { describeContent } from '../../files/content.ts';
import { type OpenedFile, openFile } from '../../files/files.ts';
import { isPlainObject, parseJson } from '../../files/json.ts';
import { bytesPerElement, type DType } from '../../tensor/dtype.ts';
import { sizeOf } from '../../tensor/tensor.ts';
import type { StoredWeightInfo } from '../weight-info.ts';

/** What the header says about one tensor. */
export interface TensorInfo extends StoredWeightInfo {
  /** Absolute position of the first byte in `file`. */
  readonly offset: number;
}

export interface SafetensorsHeader {
  /** In file order (by offset). */
  tensors: ReadonlyMap<string, TensorInfo>;
  /** The free-form strings of `__metadata__`; empty if the file has none. */
  metadata: Readonly<Record<string, string>>;
}

/** safetensors' names of element types, and ours. */
export const safetensorsDTypes: Readonly<Record<string, DType>> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  F8_E4M3: 'float8_e4m3fn',
  F8_E5M2: 'float8_e5m2',
  I64: 'int64',
  I32: 'int32',
  I16: 'int16',
  I8: 'int8',
  U64: 'uint64',
  U32: 'uint32',
  U16: 'uint16',
  U8: 'uint8',
  BOOL: 'bool',
};

/** The format's own limit: a larger header is refused, so that a false length cannot make a reader allocate. */
const maxHeaderBytes = 100_000_000;
const lengthBytes = 8;

/**
 * Opens a file and checks its header; the caller closes it.
 * @throws DejaDitError `NOT_FOUND` without such a file, `INVALID_FILE` if the header is not what the format allows
 */
export async function openWithHeader(path: string): Promise<{ file: OpenedFile; header: SafetensorsHeader }> {
  const file = await openFile(path);
  try {
    return { file, header: await readHeader(file, path) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readHeader(opened: OpenedFile, file: string): Promise<SafetensorsHeader> {
  const { size: fileBytes } = opened;
  if (fileBytes < lengthBytes) throw invalid(file, `is ${fileBytes} bytes long, too short for safetensors`);
  const prefix = await readExactly(opened, file, { offset: 0, bytes: lengthBytes });
  const bytes = safetensorsHeaderBytes(prefix, { file, fileBytes });
  const json = await readExactly(opened, file, { offset: lengthBytes, bytes });
  return parseHeader(json, { file, fileBytes });
}

/** How long a file's header is, from its first eight bytes. */
export function safetensorsHeaderBytes(
  prefix: Uint8Array,
  { file, fileBytes }: { file: string; fileBytes: number },
): number {
  const headerBytes = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true);
  if (headerBytes > BigInt(fileBytes - lengthBytes)) {
    // Only now: a true length may begin as any of them.
    throw invalid(
      file,
      describeContent(prefix) ??
        `claims a header of ${headerBytes} bytes but is only ${fileBytes} bytes long: truncated, or not safetensors`,
    );
  }
  if (headerBytes > BigInt(maxHeaderBytes)) {
    throw invalid(file, `claims a header of ${headerBytes} bytes, the format allows ${maxHeaderBytes}`);
  }
  return Number(headerBytes);
}

async function readExactly(opened: OpenedFile, file: string, range: { offset: number; bytes: number }) {
  const buffer = new Uint8Array(range.bytes);
  for (let done = 0; done < range.bytes; ) {
    const read = await opened.read(buffer.subarray(done), range.offset + done);
    if (read === 0) throw invalid(file, 'ends inside its header');
    done += read;
  }
  return buffer;
}

/**
 * Checks a header and makes its offsets absolute.
 * @param json the header's bytes, without the length before them
 */
export function parseHeader(
  json: Uint8Array,
  { file, fileBytes }: { file: string; fileBytes: number },
): SafetensorsHeader {
  const root = parseJson(decode(json, file), { path: file, subject: 'the header', uniqueKeys: true });
  const dataStart = lengthBytes + json.byteLength;
  const dataBytes = fileBytes - dataStart;
  let metadata: Record<string, string> = {};
  const tensors: [string, TensorInfo][] = [];
  for (const [name, entry] of Object.entries(root)) {
    if (name === '__metadata__') {
      metadata = parseMetadata(entry, file);
    } else {
      tensors.push([name, parseEntry(name, entry, { file, dataStart, dataBytes })]);
    }
  }
  tensors.sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes);
  requireContiguous(tensors, { file, dataStart, fileBytes });
  return { tensors: new Map(tensors), metadata };
}

function decode(json: Uint8Array, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(json);
  } catch (cause) {
    throw invalid(file, 'the header is not UTF-8: damaged, or not safetensors', cause);
  }
}

function parseMetadata(entry: unknown, file: string): Record<string, string> {
  if (!isPlainObject(entry) || Object.values(entry).some((value) => typeof value !== 'string')) {
    throw invalid(file, '__metadata__ must map strings to strings');
  }
  return entry as Record<string, string>;
}

function parseEntry(
  name: string,
  entry: unknown,
  { file, dataStart, dataBytes }: { file: string; dataStart: number; dataBytes: number },
): TensorInfo {
  const bad = (message: string) => invalid(file, `tensor ${quote(name)}: ${message}`);
  // As a key of an ordinary object this name would set a prototype instead of holding a tensor.
  if (name === '__proto__') throw bad('this name is not allowed');
  if (!isPlainObject(entry)) throw bad('the header entry is not an object');

  const dtypeName = entry['dtype'];
  if (typeof dtypeName !== 'string' || !Object.hasOwn(safetensorsDTypes, dtypeName)) {
    throw bad(`unknown dtype ${quote(dtypeName)}, known are ${Object.keys(safetensorsDTypes).join(', ')}`);
  }
  const dtype = safetensorsDTypes[dtypeName]!;

  const shape = entry['shape'];
  if (!isSizeList(shape)) throw bad(`shape ${quote(shape)} must be a list of non-negative integers`);

  const range = entry['data_offsets'];
  if (!isSizeList(range) || range.length !== 2 || range[0]! > range[1]!) {
    throw bad(`data_offsets ${quote(range)} must be [begin, end] with begin ≤ end`);
  }
  const [begin, end] = range as [number, number];
  if (end > dataBytes) throw bad(`ends at byte ${end} of the data, the file has ${dataBytes}: truncated or damaged`);
  const needed = sizeOf(shape) * bytesPerElement(dtype);
  if (needed !== end - begin) {
    throw bad(
      `${dtypeName} ${quote(shape)} needs ${needed} bytes, data_offsets [${begin}, ${end}] hold ${end - begin}`,
    );
  }
  return { dtype, shape, bytes: end - begin, offset: dataStart + begin, file };
}

function isSizeList(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

/** Every byte of the data belongs to exactly one tensor: overlaps and holes are how files smuggle or lose things. */
function requireContiguous(
  sorted: readonly [string, TensorInfo][],
  { file, dataStart, fileBytes }: { file: string; dataStart: number; fileBytes: number },
): void {
  let end = dataStart;
  let previous = '';
  for (const [name, { offset, bytes }] of sorted) {
    if (offset < end) throw invalid(file, `tensor ${quote(name)} overlaps tensor ${quote(previous)}`);
    if (offset > end) throw invalid(file, `tensor ${quote(name)}: ${offset - end} bytes before it belong to no tensor`);
    end = offset + bytes;
    previous = name;
  }
  if (end !== fileBytes) throw invalid(file, `${fileBytes - end} bytes at the end belong to no tensor`);
}

function invalid(file: string, message: string, cause?: unknown): DejaDitError {
  return new DejaDitError('INVALID_FILE', message, { path: file, cause });
}
