/** `AutoModel`: loads one component of a Diffusers checkpoint from its folder, whatever its class. */
import { z } from 'zod';
import { type ArgumentShape, abortSignal, anyObject, readArguments } from '../errors/arguments.ts';
import { DejaDitError } from '../errors/errors.ts';
import { quote } from '../errors/printable.ts';
import { warn } from '../errors/warnings.ts';
import { createBackend } from '../runtime/create-backend.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { refuseForeignQuantization } from '../weights/formats/quantized-checkpoint.ts';
import { readConfig } from '../weights/model-folder.ts';
import { OffloadedWeights } from '../weights/offload/offloaded-weights.ts';
import type { OffloadOptions } from '../weights/offload/options.ts';
import { repeatedModules } from '../weights/offload/plan.ts';
import { openWeights } from '../weights/open-weights.ts';
import { derivedSource } from '../weights/weight-source.ts';
import { WeightStore, type WeightStoreOptions, type Weights } from '../weights/weight-store.ts';
import { ConfigReader } from './config-reader.ts';
import { GraphModel } from './graph-model.ts';
import { findGraphModel, findTransformer, unsupportedModel } from './registry.ts';
import { TransformerModel } from './transformer-model.ts';
import { accountWeights } from './weight-accounting.ts';

export interface LoadOptions {
  /** Programs, and with them the backend, shared with other models. Default: those of `defaultPrograms`. */
  programs?: ProgramCache | undefined;
  /** `fp16` picks `diffusion_pytorch_model.fp16.safetensors`. */
  variant?: string | undefined;
  weightDtype?: WeightStoreOptions['weightDtype'];
  /**
   * For a transformer or text encoder larger than memory: reads the weights of its blocks from the files whenever they are needed,
   * while the blocks before are computed. `true` holds one block and reads one ahead. `weightDtype` is then `stored` by default,
   * and about the other weights only.
   */
  layerwiseOffload?: boolean | OffloadOptions | undefined;
  signal?: AbortSignal | undefined;
}

export const loadShape: ArgumentShape<LoadOptions> = {
  programs: anyObject,
  variant: z.string(),
  weightDtype: z.enum(['float32', 'stored']),
  layerwiseOffload: z.union([z.boolean(), anyObject], 'expected true, false or an object of options'),
  signal: abortSignal,
};

/** Diffusers' options that are set in another way here. */
export const elsewhere: Readonly<Record<string, string>> = {
  device: "what computes is backend: 'cpu' or 'wasm'",
  device_map: "what computes is backend: 'cpu' or 'wasm'; larger than memory: layerwiseOffload",
  torch_dtype:
    "models compute in float32; weightDtype: 'stored' holds weights as they are in the file, quantize() in fewer bits",
  torchDtype:
    "models compute in float32; weightDtype: 'stored' holds weights as they are in the file, quantize() in fewer bits",
  dtype:
    "models compute in float32; weightDtype: 'stored' holds weights as they are in the file, quantize() in fewer bits",
  quantType: 'load the model, then quantize(model, { quantType })',
  quantizeConfig: 'load the model, then quantize(model, { quantType })',
  quantization_config: 'load the model, then quantize(model, { quantType })',
  cache_dir: 'use cacheFolder',
  local_files_only: 'use offline',
};

export type LoadedModel = TransformerModel | GraphModel;

/**
 * Loads any supported model from `config.json` and safetensors in a folder.
 * @example
 * const model = await AutoModel.fromPretrained(path);
 * const { sample } = await model.forward({ hidden_states, encoder_hidden_states, timestep });
 */
export const AutoModel = {
  /**
   * A transformer, the kind of model that can be cached. For text encoders and autoencoders use `loadModel`.
   * @throws DejaDitError naming the file, field or tensor that is wrong
   */
  async fromPretrained(folder: string, options: LoadOptions = {}): Promise<TransformerModel> {
    const model = await loadModel(folder, options);
    if (model instanceof TransformerModel) return model;
    await model.dispose();
    throw new DejaDitError('UNSUPPORTED', `${model.className} is not a transformer; load it with loadModel()`, {
      path: folder,
    });
  },
};

/**
 * Loads a model of any supported class.
 * @example
 * const encoder = await loadModel(`${path}/text_encoder`);
 */
export async function loadModel(folder: string, args: LoadOptions = {}): Promise<LoadedModel> {
  const options = readArguments(loadShape, args, { of: 'loadModel', elsewhere });
  if (typeof folder !== 'string')
    throw new DejaDitError('INVALID_ARGUMENT', `expected the folder of a model, got ${quote(folder)}`, {
      path: 'folder',
    });
  const { variant, weightDtype, signal, layerwiseOffload = false } = options;
  const { className, config, path } = await readConfig(folder);
  if (className === undefined) {
    throw new DejaDitError(
      'INVALID_CONFIG',
      "has neither '_class_name' nor 'architectures', so the model's class is unknown",
      { path },
    );
  }
  refuseForeignQuantization(config, path);
  const reader = new ConfigReader(config, path);
  // Everything that can be refused without reading weights is refused first.
  const transformer = (await findTransformer(className))?.configure(reader);
  const graphModel = transformer ? undefined : (await findGraphModel(className))?.configure(reader);
  if (!transformer && !graphModel) throw unsupportedModel(className, path);
  const programs = options.programs ?? (await defaultPrograms());
  const checkpoint = await openWeights(folder, { variant, onMissingVariant: warn });
  const store = { backend: programs.backend, origin: folder, weightDtype, signal };
  let weights: Weights | undefined;
  try {
    const stored = layerwiseOffload === false ? 'float32' : 'stored';
    const account = accountWeights(transformer ?? graphModel!, checkpoint, {
      origin: folder,
      weightDtype: weightDtype ?? stored,
    });
    if (account.warning !== undefined) warn(account.warning);
    const source = derivedSource(checkpoint, { names: account.names });
    if (layerwiseOffload === false) weights = await WeightStore.load(source, store);
    else {
      const lists = transformer?.blockLists ?? repeatedModules(source.names);
      if (lists.length === 0)
        throw new DejaDitError('UNSUPPORTED', `a ${className} has no blocks to read one by one`, {
          path: 'layerwiseOffload',
        });
      const offload = layerwiseOffload === true ? {} : layerwiseOffload;
      weights = await OffloadedWeights.load(source, { ...store, lists, offload });
    }
  } finally {
    // Offloaded weights go on reading.
    if (!weights?.offloaded) await checkpoint.close();
  }
  return transformer
    ? new TransformerModel(transformer, weights, programs)
    : new GraphModel(graphModel!, weights, programs);
}

let shared: Promise<ProgramCache> | undefined;

/**
 * The programs of all models that were loaded without any: the default backend in the calling thread. Who disposes that backend
 * ends what is loaded; what is loaded afterwards gets another.
 */
export async function defaultPrograms(): Promise<ProgramCache> {
  if ((await shared)?.backend.closed) shared = undefined;
  shared ??= createBackend().then((backend) => new ProgramCache(backend));
  try {
    return await shared;
  } catch (error) {
    shared = undefined;
    throw error;
  }
}
