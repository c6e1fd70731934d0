/**
 * Quantises checkpoints into other checkpoints without loading them: tensors pass one by one, so that memory holds no more than
 * the largest layer and its result.
 */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { DejaDitError, suggest, throwIfAborted } from '../../errors/errors.ts';
import { warn } from '../../errors/warnings.ts';
import { type CopyItem, copyFiles, listFiles, requireOutside } from '../../files/copy-folder.ts';
import { checkVacant, createFolder } from '../../files/create-folder.ts';
import { ConfigReader } from '../../models/config-reader.ts';
import { defaultPrograms } from '../../models/load/programs.ts';
import { findGraphModel, findTransformer, isTransformer, unsupportedModel } from '../../models/registry.ts';
import { accountWeights } from '../../models/weight-accounting.ts';
import type { ProgramCache } from '../../runtime/program-cache.ts';
import { matrixOf } from '../../tensor/linear-algebra/matrix.ts';
import { sizeOf } from '../../tensor/tensor.ts';
import { refuseForeignQuantization } from '../../weights/formats/quantized-checkpoint.ts';
import { bytesOf, type PartSpec, partName, partsOf } from '../../weights/formats/weight-format.ts';
import { blobsOfSnapshot } from '../../weights/hub/hub-cache.ts';
import { indexAmong, openModelFolder, readConfig } from '../../weights/model-folder.ts';
import { openWeights } from '../../weights/open-weights.ts';
import type { WeightSource } from '../../weights/weight-source.ts';
import { componentConfig, parseQuantizeConfig, type QuantizeConfig, type QuantizeOptions } from '../config/config.ts';
import { encodeLayer, needsActivations } from '../encode-layer.ts';
import { planLayers, type QuantizePlan } from '../plan.ts';
import type { QuantizeCallOptions } from '../quantize.ts';
import type { ComponentReport, QuantizedLayer, QuantizeReport } from '../report.ts';
import { isPartOf, writeCheckpoint } from './save-checkpoint.ts';

export interface ConvertOptions extends QuantizeCallOptions {
  /** Weights to read: `fp16` and the like. */
  variant?: string | undefined;
  /** Where SVDQuant's products are computed. Default: those of `defaultPrograms`. */
  programs?: ProgramCache | undefined;
}

/**
 * Quantises the model or pipeline in folder `from` into folder `to`. Of a pipeline, the transformers or `componentsToQuantize`;
 * everything else is copied.
 * @throws DejaDitError INVALID_CONFIG for a type that has to observe activations: that takes a loaded model, see `quantize`
 * @example
 * await convertCheckpoint({ from: path, to: 'small' }, { quantType: 'int8_per_row' });
 */
export async function convertCheckpoint(
  { from, to }: { from: string; to: string },
  options: QuantizeOptions,
  convert: ConvertOptions = {},
): Promise<QuantizeReport> {
  const plan = await planConversion({ from, to }, options);
  if (plan === undefined)
    return {
      components: [
        await convertModel({ from, to, component: 'model' }, { config: parseQuantizeConfig(options), ...convert }),
      ],
    };
  const components: ComponentReport[] = [];
  await createFolder(to, async (inside) => {
    for (const { component, config } of plan.jobs) {
      const place = { from: path.join(from, component), to: path.join(inside, component), component };
      components.push(await convertModel(place, { config, ...convert }));
    }
    await copyFiles(plan.others, inside);
  });
  return { components };
}

export interface ConversionPlan {
  /** The components to quantise. */
  jobs: readonly { component: string; config: QuantizeConfig }[];
  /** The files of the others, which are copied. */
  others: readonly CopyItem[];
}

/**
 * Looks at all that could keep the quantised model in `from` from being written to `to`, before the work begins.
 * @returns what is to be done for a pipeline; undefined for a single model
 * @throws DejaDitError INVALID_ARGUMENT if `to` is not vacant or inside `from`, RUNTIME if it cannot be written, INVALID_FILE naming
 *   what cannot be copied
 */
export async function planConversion(
  { from, to }: { from: string; to: string },
  options: QuantizeOptions,
): Promise<ConversionPlan | undefined> {
  const names = await listFolder(from);
  await requireOutside(to, from);
  await checkVacant(to);
  if (indexAmong(names) === undefined) return undefined;
  const jobs = await componentJobs(from, options);
  const except = jobs.map(({ component }) => component);
  return { jobs, others: await listFiles({ folder: from, except, linksMayLeadTo: blobsOfSnapshot(from) }) };
}

/** The components to quantise, each with its config. */
async function componentJobs(
  from: string,
  options: QuantizeOptions,
): Promise<{ component: string; config: QuantizeConfig }[]> {
  const folder = await openModelFolder(from);
  const present = [...folder.components.values()].filter((component) => component !== null);
  const transformers = present.filter(({ className }) => isTransformer(className)).map(({ name }) => name);
  const { componentsToQuantize } = parseQuantizeConfig(options);
  const chosen = componentsToQuantize ?? Object.fromEntries(transformers.map((name) => [name, {}]));
  const known = present.map(({ name }) => name);
  return Object.entries(chosen).map(([component, own]) => {
    const at = `quantizeConfig.componentsToQuantize.${component}`;
    if (known.includes(component)) return { component, config: componentConfig(options, own, at) };
    throw new DejaDitError('INVALID_CONFIG', `is no component; ${suggest(component, known)}`, { path: at });
  });
}

async function listFolder(folder: string): Promise<string[]> {
  return readdir(folder).catch((cause) => {
    throw new DejaDitError('NOT_FOUND', 'no such folder', { path: folder, cause });
  });
}

interface Place {
  from: string;
  to: string;
  component: string;
}

async function convertModel(
  { from, to, component }: Place,
  { config, variant, ...rest }: ConvertOptions & { config: QuantizeConfig },
): Promise<ComponentReport> {
  const { className = '(no class)', config: json, path: configPath } = await readConfig(from);
  refuseForeignQuantization(json, configPath);
  const family = (await findTransformer(className)) ?? (await findGraphModel(className));
  if (!family) throw unsupportedModel(className, configPath);
  const model = family.configure(new ConfigReader(json, configPath));
  const lists = 'blockLists' in model ? model.blockLists : undefined;

  const source = await openWeights(from, { variant, onMissingVariant: warn });
  try {
    if (source.quantized) throw new DejaDitError('INVALID_ARGUMENT', 'is quantised already', { path: from });
    const { warning } = accountWeights(model, source, { origin: from, weightDtype: 'float32' });
    if (warning !== undefined) warn(warning);
    const weights = source.names.map((name) => [name, source.info(name)] as const);
    const plan = planLayers({ weights, blockLists: lists?.map(({ name }) => name), config, path: from });
    if (plan.layers.some((layer) => needsActivations(layer, config))) {
      throw new DejaDitError(
        'INVALID_CONFIG',
        `'${config.svdq.smoothStrategy}' observes activations, which takes a loaded model; types that end in _dq do without`,
        { path: 'quantizeConfig.svdqKwargs.smoothStrategy' },
      );
    }
    const stream = streamLayers(source, plan, { config, ...rest });
    const quantConfig = { quantType: config.quantType, layers: stream.quantized };
    await writeCheckpoint(to, { config: json, quantConfig, ...stream });
    return { component, className, layers: stream.done, kept: plan.kept, bytes: stream.bytes };
  } finally {
    await source.close();
  }
}

/** What is written, and how it comes about. */
function streamLayers(
  source: WeightSource,
  plan: QuantizePlan,
  { config, programs, onProgress, signal }: Omit<ConvertOptions, 'variant'> & { config: QuantizeConfig },
) {
  const planned = new Map(plan.layers.map((layer) => [`${layer.name}.weight`, layer]));
  const specs: Record<string, PartSpec> = {};
  for (const name of source.names) {
    const { dtype, shape } = source.info(name);
    const layer = planned.get(name);
    if (!layer) specs[name] = { dtype, shape };
    else for (const [part, spec] of Object.entries(partsOf(layer.format, shape))) specs[partName(name, part)] = spec;
  }
  const done: QuantizedLayer[] = [];
  const held = ({ shape }: PartSpec) => 4 * sizeOf(shape);
  return {
    specs,
    quantized: planned,
    done,
    /** As a model holds them that has widened the rest. */
    bytes: {
      before: source.names.reduce((sum, name) => sum + held(source.info(name)), 0),
      after: Object.entries(specs).reduce(
        (sum, [name, spec]) => sum + (isPartOf(planned, name) ? bytesOf(spec) : held(spec)),
        0,
      ),
    },
    fill: async (put: (name: string, tensor: Awaited<ReturnType<WeightSource['read']>>) => Promise<void>) => {
      const products = { config, programs: programs ?? (await defaultPrograms()) };
      await source.readMany(source.names, async (name, tensor) => {
        throwIfAborted(signal);
        const layer = planned.get(name);
        if (!layer) return put(name, tensor);
        const w = matrixOf(tensor.float());
        const { parts, report } = await encodeLayer(w, layer, products);
        for (const [part, encoded] of Object.entries(parts)) await put(partName(name, part), encoded);
        done.push(report);
        onProgress?.({ done: done.length, total: planned.size, layer: layer.name });
      });
      // Of the default ones, which outlive this, nothing of it is needed any more.
      if (!programs) await products.programs.trim();
    },
  };
}
