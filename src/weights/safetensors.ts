/**
 * Whole safetensors files: read into memory, look at the header, write. Models load through `weight-source.ts`, which
 * reads tensors one by one and knows about shards.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { DejaDitError } from '../errors/errors.ts';
import { bytesPerElement, type DType } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { isPlainObject, quote } from './json.ts';
import { type ReadOptions, readTensors } from './safetensors-data.ts';
import { openWithHeader, type SafetensorsHeader, safetensorsDTypes } from './safetensors-header.ts';

/**
 * All tensors of a safetensors file, in the dtypes they are stored in; each owns its memory.
 * @throws DejaDitError `NOT_FOUND` without such a file, `INVALID_FILE` with the tensor's name if the file is damaged
 */
export async function readSafetensors(path: string, options: ReadOptions = {}): Promise<Record<string, Tensor>> {
  const { handle, header } = await openWithHeader(path);
  try {
    const tensors: [string, Tensor][] = [];
    await readTensors(handle, header.tensors, {
      ...options,
      onTensor: (name, tensor) => void tensors.push([name, tensor]),
    });
    return Object.fromEntries(tensors);
  } finally {
    await handle.close();
  }
}

/** Names, dtypes, shapes and byte ranges of a safetensors file, and its `__metadata__`; reads no tensor data. */
export async function readSafetensorsHeader(path: string): Promise<SafetensorsHeader> {
  const { handle, header } = await openWithHeader(path);
  await handle.close();
  return header;
}

/**
 * Writes tensors as one safetensors file. The file appears under its name only when it is complete; if writing fails
 * nothing is left behind and an older file of that name stays as it was.
 */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  // Wide elements first: then every tensor is aligned to its element size without padding.
  const ordered = Object.entries(tensors).sort(
    ([nameA, a], [nameB, b]) => bytesPerElement(b.dtype) - bytesPerElement(a.dtype) || (nameA < nameB ? -1 : 1),
  );
  const header = encodeHeader(path, ordered, metadata);
  const temporary = `${path}.${randomUUID()}.tmp`;
  let handle: FileHandle | undefined;
  try {
    handle = await open(temporary, 'wx');
    await writeAll(handle, header);
    for (const [, { data }] of ordered) {
      await writeAll(handle, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    }
    await handle.datasync();
    await handle.close();
    handle = undefined;
    await rename(temporary, path);
  } catch (cause) {
    await handle?.close();
    await rm(temporary, { force: true }).catch(() => {}); // the first error is the one to report
    const reason = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message;
    throw new DejaDitError('RUNTIME', `cannot be written (${reason})`, { path, cause });
  }
}

function encodeHeader(
  path: string,
  tensors: readonly [string, Tensor][],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const entries: [string, unknown][] = [];
  if (!isPlainObject(metadata) || Object.values(metadata).some((value) => typeof value !== 'string')) {
    throw new DejaDitError('INVALID_ARGUMENT', 'metadata must map strings to strings', { path });
  }
  if (Object.keys(metadata).length > 0) entries.push(['__metadata__', metadata]);
  let end = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    if (name === '__proto__' || name === '__metadata__') {
      throw new DejaDitError('INVALID_ARGUMENT', `a tensor cannot be named ${quote(name)}`, { path });
    }
    entries.push([name, { dtype: storedName(dtype), shape, data_offsets: [end, end + bytes] }]);
    end += bytes;
  }
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  // Spaces after the JSON let the data begin at a multiple of eight.
  const encoded = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  encoded.writeBigUInt64LE(BigInt(encoded.length - 8));
  json.copy(encoded, 8);
  return encoded;
}

function storedName(dtype: DType): string {
  return Object.keys(safetensorsDTypes).find((name) => safetensorsDTypes[name] === dtype)!;
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  // One write call cannot take 2 GiB.
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, Math.min(1 << 30, bytes.length - done));
    done += bytesWritten;
  }
}
