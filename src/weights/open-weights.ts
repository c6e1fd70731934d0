/**
 * Opens the weights of one model folder: a single safetensors file or the shards that an index names, in the variant
 * asked for. The names are chosen in `weight-files.ts`.
 */
import { DejaDitError } from '../errors/errors.ts';
import { quote } from '../errors/printable.ts';
import { listFolder } from '../files/files.ts';
import { isPlainObject, readJsonFile } from '../files/json.ts';
import { joinPath, parentPath } from '../files/paths.ts';
import { describedSource, withFourBits } from './bitsandbytes/four-bits.ts';
import { withInt8Rows } from './bitsandbytes/int8-rows.ts';
import { readQuantStates } from './bitsandbytes/quant-state.ts';
import { quantConfigName, readQuantConfig, withQuantizedLayers } from './formats/quantized-checkpoint.ts';
import { withScaledFloat8 } from './formats/scaled-float8.ts';
import {
  chooseWeightFiles,
  foreignWeightsAmong,
  variantsAmong,
  type WeightBaseName,
  type WeightFiles,
  weightBaseNames,
} from './weight-files.ts';
import { openSafetensors, type WeightSource } from './weight-source.ts';

export interface OpenWeightsOptions {
  /** `diffusion_pytorch_model` for Diffusers' models, `model` for Transformers'. Default: whichever is there. */
  baseName?: WeightBaseName | undefined;
  /** `fp16` and the like, as in `diffusion_pytorch_model.fp16.safetensors`. Default: the files without a variant. */
  variant?: string | undefined;
  /**
   * Called with one line if the folder has only weights without the variant, which are then opened. Without this
   * function that is an error.
   */
  onMissingVariant?: ((message: string) => void) | undefined;
}

/**
 * Opens the weights in a model folder (`transformer/`, `vae/`, ...), quantised and scaled ones included.
 * @throws DejaDitError `NOT_FOUND` without a folder, weights or variant, `UNSUPPORTED` if there are only weights in
 *   formats that are not safetensors, `INVALID_FILE` for a damaged file or an index that does not fit its shards
 */
export async function openWeights(folder: string, options: OpenWeightsOptions = {}): Promise<WeightSource> {
  const names = await listFolder(folder);
  const quantized = names.includes(quantConfigName) ? await readQuantConfig(folder) : undefined;
  const { single, index } = find(folder, names, options);
  const source = await (single === undefined
    ? openShardedSafetensors(joinPath(folder, index!))
    : openSafetensors(joinPath(folder, single)));
  try {
    if (!quantized) return await withInt8Rows(await withScaledFloat8(await withPackedLayers(source)));
    return withQuantizedLayers(source, quantized.layers, folder);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** With the weights that bitsandbytes has packed as numbers. */
async function withPackedLayers(packed: WeightSource): Promise<WeightSource> {
  const layers = await readQuantStates(packed);
  return layers.size === 0 ? packed : withFourBits(describedSource(packed, layers), { layers, packed });
}

function find(folder: string, names: readonly string[], options: OpenWeightsOptions): WeightFiles {
  const { variant, onMissingVariant } = options;
  const baseNames = options.baseName === undefined ? weightBaseNames : [options.baseName];
  const choose = (wanted: string | undefined) =>
    baseNames.map((baseName) => chooseWeightFiles(names, { baseName, variant: wanted })).find((files) => files);

  const files = choose(variant);
  if (files) return files;
  const plain = variant === undefined ? undefined : choose(undefined);
  if (plain && onMissingVariant) {
    onMissingVariant(`${folder}: has no '${variant}' weights, opening ${plain.single ?? plain.index} instead`);
    return plain;
  }

  const present = baseNames.flatMap((baseName) => variantsAmong(names, baseName));
  if (present.length > 0) {
    const choices = present.map((found) => (found === undefined ? 'none' : quote(found))).join(' or ');
    const wanted = variant === undefined ? 'weights without a variant' : `weights of variant ${quote(variant)}`;
    throw new DejaDitError('NOT_FOUND', `has no ${wanted}; set variant to ${choices}`, { path: folder });
  }
  const foreign = foreignWeightsAmong(names);
  if (foreign.length > 0) {
    throw new DejaDitError(
      'UNSUPPORTED',
      `has weights only as ${foreign.join(', ')}; only safetensors are read: look for a revision that has them, or save the model again with safe_serialization=True`,
      { path: folder },
    );
  }
  const expected = baseNames.map((baseName) => `${baseName}.safetensors`).join(' or ');
  throw new DejaDitError('NOT_FOUND', `has no weights (expected ${expected}, or an index beside shards)`, {
    path: folder,
  });
}

/**
 * Opens the shards that a `*.safetensors.index.json` names, as one source.
 * @throws DejaDitError `INVALID_FILE` if the index leads out of its folder, names a shard that is not there or a tensor
 *   that its shard does not hold, or if two shards hold the same tensor
 */
export async function openShardedSafetensors(indexPath: string): Promise<WeightSource> {
  const bad = (message: string) => new DejaDitError('INVALID_FILE', message, { path: indexPath });
  const { weight_map: weightMap } = await readJsonFile(indexPath, { uniqueKeys: true });
  if (!isPlainObject(weightMap)) throw bad('has no weight_map from tensors to files');
  const fileOf = new Map<string, string>();
  for (const [name, shard] of Object.entries(weightMap)) {
    if (typeof shard !== 'string') throw bad(`tensor ${quote(name)}: its file must be a string, not ${quote(shard)}`);
    // A shard lies beside its index; anything else in the name would let a stranger's file choose what is opened.
    if (!/^[^/\\:\0]+\.safetensors$/.test(shard)) {
      throw bad(`tensor ${quote(name)}: ${quote(shard)} is not the name of a safetensors file in the same folder`);
    }
    fileOf.set(name, joinPath(parentPath(indexPath), shard));
  }
  if (fileOf.size === 0) throw bad('names no tensors');

  const source = await openSafetensors([...new Set(fileOf.values())].sort()).catch((error: DejaDitError) => {
    if (error.code !== 'NOT_FOUND') throw error;
    throw bad(`names a shard that is not there: ${error.message}`);
  });
  for (const [name, file] of fileOf) {
    if (source.has(name) && source.info(name).file === file) continue;
    await source.close();
    throw bad(`tensor ${quote(name)}: not in ${file}${source.has(name) ? ` but in ${source.info(name).file}` : ''}`);
  }
  return source;
}
