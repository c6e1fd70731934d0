/**
 * Quantises loaded models in place, layer by layer: each weight is taken out of the store, encoded, and its parts put back, so that
 * beside the result only one layer is held twice. What a layer becomes is in `plan.ts`, how it is encoded in `encode.ts`.
 */
import { checkVacant } from '#files/create-folder';
import { saveQuantized } from '#quantize/checkpoint/save-checkpoint';
import { DejaDitError, suggest, throwIfAborted } from '../errors/errors.ts';
import { warn } from '../errors/warnings.ts';
import { joinPath } from '../files/paths.ts';
import { GraphBuilder } from '../graph/builder.ts';
import { lockAll } from '../models/occupancy.ts';
import { TransformerModel } from '../models/transformer-model.ts';
import { linear } from '../nn/linear.ts';
import { Module } from '../nn/module.ts';
import { runOnce } from '../runtime/host-tensors.ts';
import { type Matrix, matrixOf, transpose } from '../tensor/linear-algebra/matrix.ts';
import { floatTensor } from '../tensor/tensor.ts';
import { WeightStore } from '../weights/weight-store.ts';
import { backendProducts } from './backend-products.ts';
import { type Observation, observe, type QuantizableModel } from './calibrate.ts';
import { componentConfig, parseQuantizeConfig, type QuantizeConfig, type QuantizeOptions } from './config/config.ts';
import { encodeLayer, needsActivations } from './encode-layer.ts';
import { relativeError } from './formats/scales.ts';
import { type PlannedLayer, planLayers } from './plan.ts';
import type { ComponentReport, QuantizedLayer, QuantizeReport } from './report.ts';

/** A pipeline, as far as quantising goes. */
export interface QuantizablePipeline {
  readonly transformers: Readonly<Record<string, TransformerModel>>;
  /** All models by component name, text encoders included. */
  readonly models?: Readonly<Record<string, QuantizableModel>>;
}

export type Quantizable = QuantizableModel | QuantizablePipeline;

export interface QuantizeCallOptions {
  /** Called after every layer. */
  onProgress?: ((progress: { done: number; total: number; layer: string }) => void) | undefined;
  /** Checked between layers; layers that are done stay quantised. */
  signal?: AbortSignal | undefined;
}

interface Job {
  component: string;
  model: QuantizableModel;
  weights: WeightStore;
  config: QuantizeConfig;
  plan: ReturnType<typeof planLayers>;
}

/**
 * Quantises a model's linear layers, or those of a pipeline's components. Requests are refused meanwhile.
 * @returns what became of every layer; `summarizeReport` makes it readable
 * @throws DejaDitError INVALID_CONFIG naming the field; UNSUPPORTED naming layers that the type cannot serve; BUSY
 *   while a request uses a model
 * @example
 * const report = await quantize(pipe, { quantType: 'int8_per_row' });
 * console.log(summarizeReport(report).join('\n'));
 */
export async function quantize(
  target: Quantizable,
  options: QuantizeOptions = {},
  { onProgress, signal }: QuantizeCallOptions = {},
): Promise<QuantizeReport> {
  const config = parseQuantizeConfig(options);
  const jobs = componentsOf(target, config, options).map(({ component, model, config: own }): Job => {
    const weights = storeOf(model, component);
    return { component, model, weights, config: own, plan: planFor(model, weights, own) };
  });
  const folderOf = ({ component, config: { serializeTo } }: Job) =>
    serializeTo === null || 'runner' in target ? serializeTo : joinPath(serializeTo, component);
  for (const job of jobs) {
    const folder = folderOf(job);
    if (folder !== null) await checkVacant(folder);
  }
  const models = jobs.map(({ model }) => model);
  // Calibration runs requests itself; before and after it there may be none.
  lockAll(models, 'quantize')();
  const observations = await calibrate(jobs, config);
  const unlock = lockAll(models, 'quantize');
  try {
    return { components: await replaceWeights(jobs, observations, { onProgress, signal, folderOf }) };
  } finally {
    unlock();
  }
}

async function replaceWeights(
  jobs: readonly Job[],
  observations: readonly Map<string, Observation>[],
  { onProgress, signal, folderOf }: QuantizeCallOptions & { folderOf(job: Job): string | null },
): Promise<ComponentReport[]> {
  const total = jobs.reduce((sum, { plan }) => sum + plan.layers.length, 0);
  let done = 0;
  const components: ComponentReport[] = [];
  for (const [i, job] of jobs.entries()) {
    const { component, model, weights, plan } = job;
    const before = weights.bytes;
    const layers: QuantizedLayer[] = [];
    try {
      for (const layer of plan.layers) {
        throwIfAborted(signal);
        layers.push(await quantizeLayer(layer, { ...job, observation: observations[i]?.get(`${layer.name}.weight`) }));
        done++;
        onProgress?.({ done, total, layer: layer.name });
        // Signals are only heard when the event loop turns.
        await new Promise((resolve) => setTimeout(resolve));
      }
    } finally {
      if (model instanceof TransformerModel) model.endImplicitSession();
      model.runner.reset();
    }
    if (job.config.verbose)
      for (const { name, reason } of plan.kept) warn(`${component}: ${name} is not quantised: ${reason}`);
    const bytes = { before, after: weights.bytes };
    components.push({ component, className: model.className, layers, kept: plan.kept, bytes });
    const folder = folderOf(job);
    if (folder !== null) await saveQuantized(model, folder, { quantType: job.config.quantType });
  }
  return components;
}

function componentsOf(
  target: Quantizable,
  config: QuantizeConfig,
  options: QuantizeOptions,
): Pick<Job, 'component' | 'model' | 'config'>[] {
  if ('runner' in target) {
    if (config.componentsToQuantize === null) return [{ component: 'model', model: target, config }];
    throw new DejaDitError('INVALID_CONFIG', 'is for pipelines, this is a single model', {
      path: 'quantizeConfig.componentsToQuantize',
    });
  }
  const models: Readonly<Record<string, QuantizableModel>> = { ...target.models, ...target.transformers };
  const chosen =
    config.componentsToQuantize ?? Object.fromEntries(Object.keys(target.transformers).map((name) => [name, {}]));
  return Object.entries(chosen).map(([component, overrides]) => {
    const path = `quantizeConfig.componentsToQuantize.${component}`;
    const model = models[component];
    if (!model) {
      const hint = suggest(component, Object.keys(models));
      throw new DejaDitError('INVALID_CONFIG', `is no model of this pipeline; ${hint}`, { path });
    }
    return { component, model, config: componentConfig(options, overrides, path) };
  });
}

function storeOf({ weights, className }: QuantizableModel, component: string): WeightStore {
  if (weights instanceof WeightStore) return weights;
  const reason = weights.offloaded
    ? 'is offloaded, so its weights stay in their files: quantise the checkpoint first, with `deja-dit quantize --out`'
    : 'has weights that cannot be replaced';
  throw new DejaDitError('UNSUPPORTED', `this ${className} ${reason}`, { path: component });
}

function planFor(model: QuantizableModel, weights: WeightStore, config: QuantizeConfig) {
  const lists = model instanceof TransformerModel ? model.definition.blockLists.map(({ name }) => name) : undefined;
  const names = new Set([...weights.names, ...weights.quantizedNames]);
  const infos = [...names].map((name) => [name, weights.info(name)!] as const);
  return planLayers({ weights: infos, blockLists: lists, config, path: weights.origin });
}

/** Observations of each job's model; none where nothing asks for them. */
async function calibrate(jobs: readonly Job[], { calibrateFn }: QuantizeConfig): Promise<Map<string, Observation>[]> {
  if (!calibrateFn) {
    const blind = jobs.find(({ config, plan }) => plan.layers.some((layer) => needsActivations(layer, config)));
    if (!blind) return [];
    throw new DejaDitError(
      'INVALID_CONFIG',
      `is missing: smoothStrategy '${blind.config.svdq.smoothStrategy}' observes activations; types that end in _dq do without`,
      { path: 'quantizeConfig.calibrateFn' },
    );
  }
  const fewShot = jobs.find(({ config }) => config.svdq.smoothStrategy === 'few_shot');
  const calls = fewShot?.config.svdq.fewShotSteps;
  return observe({ models: jobs.map(({ model }) => model), run: calibrateFn, calls });
}

async function quantizeLayer(
  layer: PlannedLayer,
  { model, weights, config, observation }: Job & { observation: Observation | undefined },
): Promise<QuantizedLayer> {
  const { name, format, shape } = layer;
  const weight = `${name}.weight`;
  const w = await readMatrix(weights, weight);
  const { parts, report } = await encodeLayer(w, layer, { config, programs: model.programs, observation });
  weights.setQuantized(weight, { format, shape, parts });
  if (!config.measure || !observation) return report;
  return { ...report, outputError: await outputError(w, { name, model, rows: observation.rows }) };
}

/** A weight's data on the host; not to be changed. */
async function readMatrix(weights: WeightStore, name: string): Promise<Matrix> {
  return matrixOf((await weights.read(name)).float());
}

/** The layer run as the model runs it, activations rounded and all, against the product with the weight it had. */
async function outputError(
  w: Matrix,
  { name, model, rows }: { name: string; model: QuantizableModel; rows: Matrix },
): Promise<number> {
  const { weights, programs } = model;
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', [rows.rows, rows.columns]);
  // Without what calibrations observe and LoRAs add.
  const bare = { origin: weights.origin, info: weights.info.bind(weights), has: weights.has.bind(weights) };
  g.output('y', linear(new Module(g, bare, name), x, w.rows, { bias: false }));
  const graph = g.finish();
  const feeds = Object.fromEntries(graph.weights.map((slot) => [slot.slot, weights.get(slot.name)]));
  const inputs = { x: floatTensor(rows.data, [rows.rows, rows.columns]) };
  const { y } = await runOnce(programs, graph, { inputs, weights: feeds });
  const expected = await backendProducts(programs).times(rows, transpose(w));
  return relativeError(y!.f32, expected.data);
}
