/** Makes a model of its config and its weights, wherever they come from. */
import { launchedBy } from '#runtime/launched-by';
import { DejaDitError } from '../../errors/errors.ts';
import { warn } from '../../errors/warnings.ts';
import type { Backend } from '../../runtime/backend.ts';
import { type HeldDtype, inHeldDtypes } from '../../weights/formats/held-dtype.ts';
import { refuseForeignQuantization } from '../../weights/formats/quantized-checkpoint.ts';
import type { ModelConfig } from '../../weights/model-folder.ts';
import { OffloadedWeights } from '../../weights/offload/offloaded-weights.ts';
import { repeatedModules } from '../../weights/offload/plan.ts';
import { derivedSource, isPart, type WeightSource } from '../../weights/weight-source.ts';
import { WeightStore, type Weights } from '../../weights/weight-store.ts';
import { type ComputeDtype, computeDtypeOn, modulesIn } from '../compute-dtype.ts';
import { ConfigReader } from '../config-reader.ts';
import type { Transformer } from '../definition.ts';
import { type BoundModel, GraphModel } from '../graph-model.ts';
import { findGraphModel, findTransformer, unsupportedModel } from '../registry.ts';
import { TransformerModel } from '../transformer-model.ts';
import { type Account, accountWeights } from '../weight-accounting.ts';
import type { LoadOptions } from './load-options.ts';
import { programsFor } from './programs.ts';

export type LoadedModel = TransformerModel | GraphModel;

export interface Checkpoint {
  /** File or folder, for error messages. */
  origin: string;
  /** Opens the weights; not called before all has been checked that can be without them. */
  open(model: Transformer | BoundModel): Promise<WeightSource>;
}

/** @throws DejaDitError naming the file, field or tensor that is wrong */
export async function assembleModel(
  { className, config, path }: ModelConfig,
  options: LoadOptions,
  { origin, open }: Checkpoint,
): Promise<LoadedModel> {
  if (className === undefined) {
    throw new DejaDitError(
      'INVALID_CONFIG',
      "has neither '_class_name' nor 'architectures', so the model's class is unknown",
      { path },
    );
  }
  refuseForeignQuantization(config, path);
  const reader = new ConfigReader(options.textOnly ? { ...config, vision_config: undefined } : config, path);
  const transformer = (await findTransformer(className))?.configure(reader);
  const graphModel = transformer ? undefined : (await findGraphModel(className))?.configure(reader);
  const model = transformer ?? graphModel;
  if (!model) throw unsupportedModel(className, path);
  const { programs, own } = await programsFor(options);
  const { backend } = programs;
  try {
    const dtype = computeDtypeOn(backend, options.computeDtype);
    const weights = await loadWeights(model, options, { backend, origin, open, dtype });
    const loaded = transformer
      ? new TransformerModel(transformer, weights, programs, dtype)
      : new GraphModel(graphModel!, weights, programs);
    if (own) loaded.own(backend);
    return loaded;
  } catch (error) {
    if (own) await backend.dispose();
    throw error;
  }
}

async function loadWeights(
  model: Transformer | BoundModel,
  { weightDtype, signal, layerwiseOffload = false, deferWeights }: LoadOptions,
  { backend, origin, open, dtype }: Checkpoint & { backend: Backend; dtype: ComputeDtype },
): Promise<Weights> {
  const deferred = layerwiseOffload === false && (deferWeights ?? launchedBy() !== undefined);
  const checkpoint = await open(model);
  const store = { backend, origin, weightDtype, signal };
  let weights: Weights | undefined;
  try {
    const stored = layerwiseOffload === false ? 'float32' : 'stored';
    const account = accountWeights(model, checkpoint, { origin, weightDtype: weightDtype ?? stored });
    if (account.warning !== undefined) warn(account.warning);
    const accounted = derivedSource(checkpoint, { names: account.names });
    const held =
      weightDtype === 'stored' ||
      (weightDtype === undefined && (layerwiseOffload !== false || checkpoint.stored?.preferred));
    const named = held && accounted.stored ? heldAsStored(accounted, account) : accounted;
    const source = inHeldDtypes(named, heldDtypes(model, dtype, backend), origin);
    if (deferred) weights = WeightStore.defer(source, store);
    else if (layerwiseOffload === false) weights = await WeightStore.load(source, store);
    else {
      const lists = 'blockLists' in model ? model.blockLists : repeatedModules(source.names);
      if (lists.length === 0)
        throw new DejaDitError('UNSUPPORTED', `a ${model.className} has no blocks to read one by one`, {
          path: 'layerwiseOffload',
        });
      const offload = layerwiseOffload === true ? {} : layerwiseOffload;
      weights = await OffloadedWeights.load(source, { ...store, lists, offload });
    }
    return weights;
  } finally {
    // Offloaded and deferred weights go on reading.
    if (!weights?.offloaded && !(weights && deferred)) await checkpoint.close();
  }
}

/** The tensors that a model reads, those that linear layers multiply with in the formats that they are stored in. */
function heldAsStored(source: WeightSource, { names, factors }: Account): WeightSource {
  const held = source.stored!.hold(factors);
  const read = new Set(names);
  return derivedSource(held, { names: held.names.filter((name) => read.has(name) || isPart(held, name)) });
}

/** The types in which a backend holds a model's weights, where that is not up to `weightDtype`. */
function heldDtypes(
  model: Transformer | BoundModel,
  dtype: ComputeDtype,
  { capabilities }: Backend,
): (name: string) => HeldDtype | undefined {
  const isFloat32 = 'blockLists' in model ? modulesIn(model.float32Modules) : () => !model.holdsFloat16;
  return (name) => {
    if (dtype === 'float16')
      return isFloat32(name.slice(0, Math.max(0, name.lastIndexOf('.')))) ? 'float32' : 'float16';
    return capabilities.narrowFloats ? undefined : 'float32';
  };
}
