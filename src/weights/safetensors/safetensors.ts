/**
 * Whole safetensors files: read into memory, look at the header. Models load through `weight-source.ts`, which
 * reads tensors one by one and knows about shards; writing is `write-safetensors.ts`.
 */
import type { Tensor } from '../../tensor/tensor.ts';
import { type ReadOptions, readTensors } from './safetensors-data.ts';
import { openWithHeader, type SafetensorsHeader } from './safetensors-header.ts';

/**
 * All tensors of a safetensors file, in the dtypes they are stored in; each owns its memory.
 * @throws DejaDitError `NOT_FOUND` without such a file, `INVALID_FILE` with the tensor's name if the file is damaged
 * @example
 * const tensors = await readSafetensors('io.safetensors');
 * console.log(Object.keys(tensors));
 */
export async function readSafetensors(path: string, options: ReadOptions = {}): Promise<Record<string, Tensor>> {
  const { file, header } = await openWithHeader(path);
  try {
    const tensors: [string, Tensor][] = [];
    await readTensors(file, header.tensors, {
      ...options,
      onTensor: (name, tensor) => void tensors.push([name, tensor]),
    });
    return Object.fromEntries(tensors);
  } finally {
    await file.close();
  }
}

/**
 * Names, dtypes, shapes and byte ranges of a safetensors file, and its `__metadata__`; reads no tensor data.
 * @example
 * const { tensors, metadata } = await readSafetensorsHeader('model.safetensors');
 */
export async function readSafetensorsHeader(path: string): Promise<SafetensorsHeader> {
  const { file, header } = await openWithHeader(path);
  await file.close();
  return header;
}
