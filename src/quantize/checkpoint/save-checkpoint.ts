/** Writes the folder of a quantised model. It is read like any other, see `weights/formats/quantized-checkpoint.ts`. */
import path from 'node:path';
import { DejaDitError } from '../../errors/errors.ts';
import { createFolder } from '../../files/create-folder.ts';
import { writeFileAtomically } from '../../files/replace-file.ts';
import { fromFloat32, toFloat32 } from '../../tensor/convert.ts';
import { Tensor } from '../../tensor/tensor.ts';
import {
  encodeQuantConfig,
  type QuantConfigFile,
  quantConfigName,
} from '../../weights/formats/quantized-checkpoint.ts';
import type { PartSpec } from '../../weights/formats/weight-format.ts';
import { type StreamOptions, streamSafetensors } from '../../weights/safetensors/write-safetensors.ts';
import { WeightStore } from '../../weights/weight-store.ts';
import type { QuantizableModel } from '../calibrate.ts';

/**
 * Writes `config.json`, `quant_config.json` and the weights of a model that was quantised in memory, tensor by tensor.
 * @param folder appears when it is complete; not there before, or empty
 * @throws DejaDitError INVALID_ARGUMENT for a model that is not quantised, or a folder with files in it
 * @example
 * await quantize(model, { quantType: 'int4_weight_only' });
 * await saveQuantized(model, 'small/transformer', { quantType: 'int4_weight_only' });
 */
export async function saveQuantized(
  model: QuantizableModel,
  folder: string,
  { quantType }: { quantType: string },
): Promise<void> {
  const { weights, config, className } = model;
  if (!(weights instanceof WeightStore) || weights.quantizedNames.length === 0)
    throw new DejaDitError('INVALID_ARGUMENT', `this ${className} is not quantised`, { path: folder });
  const layers = new Map(
    weights.quantizedNames.map((name) => {
      const { format, shape } = weights.info(name)!;
      return [name, { format: format!, shape }] as const;
    }),
  );
  const read = async (name: string) => {
    const tensor = await weights.read(name);
    return isPartOf(layers, name) ? tensor : unwidened(tensor);
  };
  const specs: Record<string, PartSpec> = {};
  for (const name of weights.names) {
    const { dtype, shape } = await read(name);
    specs[name] = { dtype, shape };
  }
  await writeCheckpoint(folder, {
    config,
    quantConfig: { quantType, layers },
    specs,
    async fill(put) {
      for (const name of weights.names) await put(name, await read(name));
    },
  });
}

export interface Checkpoint extends StreamOptions {
  /** The model's `config.json`. */
  config: Readonly<Record<string, unknown>>;
  quantConfig: QuantConfigFile;
}

/** A model's folder, new or empty. */
export async function writeCheckpoint(folder: string, { config, quantConfig, ...weights }: Checkpoint): Promise<void> {
  const baseName = '_class_name' in config ? 'diffusion_pytorch_model' : 'model';
  // Of another program, whose formats the weights are no longer in.
  const { quantization_config: _, ...own } = config;
  await createFolder(folder, async (inside) => {
    await writeFileAtomically(path.join(inside, 'config.json'), `${JSON.stringify(own, null, 2)}\n`);
    await streamSafetensors(path.join(inside, `${baseName}.safetensors`), weights);
    await writeFileAtomically(path.join(inside, quantConfigName), encodeQuantConfig(quantConfig));
  });
}

/** Whether a stored tensor belongs to a quantised weight. */
export function isPartOf(layers: { has(weight: string): boolean }, name: string): boolean {
  return layers.has(name.slice(0, name.lastIndexOf('.')));
}

/** A tensor that was widened while loading, as it was in its file: bfloat16 if that loses nothing. */
function unwidened(tensor: Tensor): Tensor {
  if (tensor.dtype !== 'float32') return tensor;
  const values = tensor.f32;
  const narrow = fromFloat32('bfloat16', values);
  const same = toFloat32('bfloat16', narrow).every((value, i) => value === values[i]);
  return same ? new Tensor('bfloat16', narrow, tensor.shape) : tensor;
}
