/**
 * Opens one model out of a file that other programs have written: in the names of its first release, under the prefix of a program, alone
 * or beside the other models of a pipeline. What the names are is in each family's table.
 */

import type { Shape } from '../../tensor/tensor.ts';
import { withFourBits } from '../bitsandbytes/four-bits.ts';
import { withInt8Rows } from '../bitsandbytes/int8-rows.ts';
import { isBeside, readQuantStates, rowsOfBytes } from '../bitsandbytes/quant-state.ts';
import { withScaledFloat8 } from '../formats/scaled-float8.ts';
import { isGguf, openWithGgufHeader } from '../gguf/gguf-header.ts';
import { withGgufBlocks } from '../gguf/gguf-weights.ts';
import type { NameTable } from '../names/name-table.ts';
import { renameTensors, withJoinedTensors } from '../names/rename-tensors.ts';
import { isPackedByNunchaku, withNunchakuLayers } from '../nunchaku/nunchaku-weights.ts';
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
  const { file, tensors: all, packed, layers } = await openFileOf(path);
  try {
    const own = modelTensors(all, { component, model, path });
    requireRunnable(own.keys(), path);
    if (isPackedByNunchaku(own.keys())) return withNunchakuLayers(fileSource(new Map([[path, file]]), own));
    const { tensors, joined } = renameTensors(own, names);
    const plain = fileSource(new Map([[path, file]]), tensors);
    const source = withJoinedTensors(layers.size === 0 ? plain : withFourBits(plain, { layers, packed }), joined);
    return isGguf(path) ? withGgufBlocks(source) : await withInt8Rows(await withScaledFloat8(source));
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

/** What a file says of its tensors. */
export async function readTensorInfos(path: string): Promise<ReadonlyMap<string, TensorInfo>> {
  const { file, tensors } = await openFileOf(path);
  await file.close();
  return tensors;
}

/** Opens a file by the end of its name. Weights that bitsandbytes has packed are told as what they stand for. */
async function openFileOf(path: string) {
  const { file, header } = await (isGguf(path) ? openWithGgufHeader(path) : openWithHeader(path));
  try {
    const packed = fileSource(new Map([[path, file]]), header.tensors);
    const layers = await readQuantStates(packed);
    const tensors = new Map<string, TensorInfo>();
    for (const [name, info] of header.tensors) {
      const layer = layers.get(name);
      if (layer) tensors.set(name, rowsOfBytes(info, name, layer));
      else if (!isBeside(name, layers)) tensors.set(name, info);
    }
    return { file, tensors, packed, layers };
  } catch (error) {
    await file.close();
    throw error;
  }
}
