/** Writes safetensors files, whole or as their tensors come. */
import type { FileHandle } from 'node:fs/promises';
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { isPlainObject } from '../../files/json.ts';
import { replaceFile, withNewFile } from '../../files/replace-file.ts';
import { bytesPerElement, type DType } from '../../tensor/dtype.ts';
import { type Shape, sizeOf, type Tensor } from '../../tensor/tensor.ts';
import { safetensorsDTypes } from './safetensors-header.ts';

/**
 * Writes tensors as one safetensors file. The file appears under its name only when it is complete; if writing fails
 * nothing is left behind and an older file of that name stays as it was.
 * @example
 * await writeSafetensors('one.safetensors', { weight: new Tensor('float32', Float32Array.of(1, 2), [2]) });
 */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  await streamSafetensors(path, {
    specs: tensors,
    metadata,
    async fill(put) {
      for (const [name, tensor] of Object.entries(tensors)) await put(name, tensor);
    },
  });
}

export interface StreamOptions {
  /** All tensors of the file. */
  specs: Readonly<Record<string, { dtype: DType; shape: Shape }>>;
  metadata?: Readonly<Record<string, string>>;
  /** Puts every tensor, in any order; what was put is written before the promise is fulfilled. */
  fill(put: (name: string, tensor: Tensor) => Promise<void>): Promise<void>;
}

/** `writeSafetensors` for tensors that are not all in memory: they are written as they come. */
export async function streamSafetensors(path: string, { specs, metadata = {}, fill }: StreamOptions): Promise<void> {
  const { header, offsets } = encodeHeader(path, specs, metadata);
  await replaceFile(path, (temporary) =>
    withNewFile(temporary, async (file) => {
      await writeAll(file, header, 0);
      const missing = new Set(offsets.keys());
      await fill(async (name, { dtype, shape, data }) => {
        const spec = specs[name];
        if (!spec || !missing.delete(name) || spec.dtype !== dtype || spec.shape.join() !== shape.join())
          throw new DejaDitError('INVALID_ARGUMENT', `tensor ${quote(name)}: ${dtype} [${shape}] was not announced`, {
            path,
          });
        const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        await writeAll(file, bytes, header.length + offsets.get(name)!);
      });
      const [left] = missing;
      if (left !== undefined)
        throw new DejaDitError('INVALID_ARGUMENT', `tensor ${quote(left)} was not written`, { path });
    }),
  );
}

function encodeHeader(
  path: string,
  specs: StreamOptions['specs'],
  metadata: Readonly<Record<string, string>>,
): { header: Uint8Array; offsets: Map<string, number> } {
  const entries: [string, unknown][] = [];
  if (!isPlainObject(metadata) || Object.values(metadata).some((value) => typeof value !== 'string')) {
    throw new DejaDitError('INVALID_ARGUMENT', 'metadata must map strings to strings', { path });
  }
  if (Object.keys(metadata).length > 0) entries.push(['__metadata__', metadata]);
  // Wide elements first: then every tensor is aligned to its element size without padding.
  const ordered = Object.entries(specs).sort(
    ([nameA, a], [nameB, b]) => bytesPerElement(b.dtype) - bytesPerElement(a.dtype) || (nameA < nameB ? -1 : 1),
  );
  const offsets = new Map<string, number>();
  let end = 0;
  for (const [name, { dtype, shape }] of ordered) {
    if (name === '__proto__' || name === '__metadata__') {
      throw new DejaDitError('INVALID_ARGUMENT', `a tensor cannot be named ${quote(name)}`, { path });
    }
    offsets.set(name, end);
    const start = end;
    end += bytesPerElement(dtype) * sizeOf(shape);
    entries.push([name, { dtype: storedName(dtype), shape, data_offsets: [start, end] }]);
  }
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  // Spaces after the JSON let the data begin at a multiple of eight.
  const header = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  header.writeBigUInt64LE(BigInt(header.length - 8));
  json.copy(header, 8);
  return { header, offsets };
}

function storedName(dtype: DType): string {
  return Object.keys(safetensorsDTypes).find((name) => safetensorsDTypes[name] === dtype)!;
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  // One write call cannot take 2 GiB.
  for (let done = 0; done < bytes.length; ) {
    const length = Math.min(1 << 30, bytes.length - done);
    const { bytesWritten } = await handle.write(bytes, done, length, position + done);
    done += bytesWritten;
  }
}
