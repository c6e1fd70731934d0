/**
 * Opens one model out of a file that other programs have written: in the names of its first release, under the prefix of a program, alone
 * or beside the other models of a pipeline. What the names are is in each family's table.
 */

import type { Shape } from '../../tensor/tensor.ts';
import { withScaledFloat8 } from '../formats/scaled-float8.ts';
import { isGguf, openWithGgufHeader } from '../gguf/gguf-header.ts';
import { withGgufBlocks } from '../gguf/gguf-weights.ts';
import type { NameTable } from '../names/name-table.ts';
import { renameTensors, withJoinedTensors } from '../names/rename-tensors.ts';
import { openWithHeader, type TensorInfo } from '../safetensors/safetensors-header.ts';
import { fileSource, type WeightSource } from '../weight-source.ts';
import { requireRunnable } from './known-files.ts';
import { modelTensors } from './model-tensors.ts';

export interface OpenSingleFileOptions {
  /** Which model of a pipeline it is: `transformer`, `vae`, `text_encoder_2`. */
  component: string;
  /** Its original names. */
  names: NameTable;
  /** Its `config.json`. */
  model: Readonly<Record<string, unknown>>;
}

/**
 * The weights of one model under the names of Diffusers. Of a file with several models the others are left out.
 * @throws DejaDitError NOT_FOUND if the file holds other models only, INVALID_FILE for a damaged file
 */
export async function openSingleFile(
  path: string,
  { component, names, model }: OpenSingleFileOptions,
): Promise<WeightSource> {
  const { file, header } = await openFileOf(path);
  try {
    const own = modelTensors(header.tensors, { component, model, path });
    requireRunnable(own.keys(), path);
    const { tensors, joined } = renameTensors(own, names);
    const source = withJoinedTensors(fileSource(new Map([[path, file]]), tensors), joined);
    return isGguf(path) ? withGgufBlocks(source) : await withScaledFloat8(source);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The shapes of one model's tensors under the names that they have in the file. */
export async function tensorShapes(path: string, component: string): Promise<ReadonlyMap<string, Shape>> {
  const own = modelTensors(await readTensorInfos(path), { component, model: {}, path });
  return new Map([...own].map(([name, { encoded, shape }]) => [name, encoded?.shape ?? shape]));
}

/** What a file's header says of its tensors. */
export async function readTensorInfos(path: string): Promise<ReadonlyMap<string, TensorInfo>> {
  const { file, header } = await openFileOf(path);
  await file.close();
  return header.tensors;
}

/** Opens a file by the end of its name. */
function openFileOf(path: string): ReturnType<typeof openWithGgufHeader | typeof openWithHeader> {
  return isGguf(path) ? openWithGgufHeader(path) : openWithHeader(path);
}
