/** `QuantizeConfig`: cache-dit's fields and defaults. Which layers it selects is decided in `plan.ts`. */
import * as z from 'zod';
import { DejaDitError } from '../../errors/errors.ts';
import { namedOptions, readOptions } from '../../errors/options.ts';
import { warn } from '../../errors/warnings.ts';
import { type Relaxation, relaxStrategies, type SmoothStrategy, smoothStrategies } from '../smoothing.ts';
import { type FormatOptions, parseQuantType, type QuantType, svdVariant } from './quant-type.ts';

/** What a filter is told of a layer. */
export interface LayerInfo {
  /** Module path, `transformer_blocks.0.attn.to_q`. */
  readonly name: string;
  readonly outFeatures: number;
  readonly inFeatures: number;
}

export interface SvdqConfig {
  /** `low`: randomised; `medium` and `high`: exact, in time cubic in a layer's width. */
  calibratePrecision: 'low' | 'medium' | 'high';
  smoothStrategy: SmoothStrategy;
  /** Forward passes that `few_shot` looks at. */
  fewShotSteps: number;
  relaxation: Relaxation;
  /** How often the low-rank branch is fitted anew to what the residual's rounding left. */
  refineIterations: number;
}

export interface QuantizeConfig extends FormatOptions {
  quantType: QuantType;
  /** Layers whose path contains one of these stay as they are. */
  excludeLayers: readonly string[];
  /** Quantise the repeated blocks only. */
  regionalQuantize: boolean;
  /** Names of block lists; empty: all of them. */
  repeatedBlocks: readonly string[];
  filterFn: ((layer: LayerInfo) => boolean) | null;
  /** Components of a pipeline, each with its own overrides; null: all transformers. */
  componentsToQuantize: Readonly<Record<string, QuantizeOptions>> | null;
  /** Layers whose shape a type cannot serve get one scale per tensor instead; if false they are an error. */
  perTensorFallback: boolean;
  /** Types for layers whose path contains the key; the first match counts. */
  precisionPlan: readonly (readonly [substring: string, type: QuantType])[];
  /** Runs the model on typical inputs, so that activations can be observed. */
  calibrateFn: (() => Promise<unknown>) | null;
  /** Folder to save the quantised model to; of a pipeline, each component to a folder of its own in it. */
  serializeTo: string | null;
  svdq: SvdqConfig;
  /** Measure every layer's error, for the report. */
  measure: boolean;
  /** Keep layers that took long to quantise, for the next time: in the default folder, or in this one. */
  diskCache: boolean | string;
  /** Warn of every layer that is not quantised. */
  verbose: boolean;
}

/** Options as a user writes them: fields of `QuantizeConfig` in camelCase or in cache-dit's spelling. */
export interface QuantizeOptions {
  readonly quantType?: string;
  readonly [field: string]: unknown;
}

const isFunction = <F>() => z.custom<F>((value) => typeof value === 'function', 'must be a function');

const fields = {
  quantType: z.string().default('float8_per_row'),
  backend: z.string().default('auto'),
  excludeLayers: z.array(z.string().min(1)).default(['embedder', 'embed', 'modulation', 'mod']),
  regionalQuantize: z.boolean().default(true),
  repeatedBlocks: z.array(z.string()).default([]),
  filterFn: isFunction<(layer: LayerInfo) => boolean>().nullable().default(null),
  componentsToQuantize: z
    .union([z.array(z.string()), z.record(z.string(), z.looseObject({}))])
    .nullable()
    .default(null),
  perTensorFallback: z.boolean().default(true),
  precisionPlan: z.record(z.string(), z.string()).default({}),
  calibrateFn: isFunction<() => Promise<unknown>>().nullable().default(null),
  serializeTo: z.string().nullable().default(null),
  svdqKwargs: z.looseObject({}).default({}),
  blockSize: z.literal([16, 32, 64, 128]).nullable().default(null),
  measure: z.boolean().default(false),
  diskCache: z.union([z.boolean(), z.string()]).default(true),
  verbose: z.boolean().default(false),
};

const cudaOnly = z.unknown().optional();
const svdqFields = {
  calibratePrecision: z.enum(['low', 'medium', 'high']).default('low'),
  smoothStrategy: z.enum(smoothStrategies).optional(),
  fewShotSteps: z.int().min(1).default(1),
  fewShotRelaxFactor: z.number().min(1).default(1.5),
  fewShotRelaxTopRatio: z.number().gt(0).max(1).default(0.25),
  fewShotRelaxStrategy: z
    .preprocess((name) => (name === 'top_q4' ? 'top' : name), z.enum(relaxStrategies))
    .default('auto'),
  svdRefineIters: z.int().min(0).default(0),
};
/** Options of cache-dit that steer CUDA kernels and copies; they change no result. */
const cudaFields = {
  streaming: cudaOnly,
  runtimeKernel: cudaOnly,
  quantizeDevice: cudaOnly,
  offloadQuantizedLayersToCpu: cudaOnly,
  layerwiseOffload: cudaOnly,
  asyncTransfer: cudaOnly,
  transferBuckets: cudaOnly,
  prefetchLimit: cudaOnly,
  maxCopyStreams: cudaOnly,
  maxInflightPrefetchBytes: cudaOnly,
  persistentBuckets: cudaOnly,
  persistentBins: cudaOnly,
  deferMoveToExecutionDevice: cudaOnly,
  activationBufferFlushSampleCount: cudaOnly,
  activationBufferFlushCpuBytes: cudaOnly,
  fewShotAutoCompile: cudaOnly,
  fusedMlp: cudaOnly,
};

/**
 * Checks options and fills in defaults.
 * @throws DejaDitError INVALID_CONFIG naming the field
 */
export function parseQuantizeConfig(options: QuantizeOptions = {}, path = 'quantizeConfig'): QuantizeConfig {
  const { svdqKwargs, backend, componentsToQuantize, precisionPlan, ...rest } = readOptions(fields, options, path);
  const quantType = parseQuantType(rest.quantType, `${path}.quantType`);
  checkBackend(backend, { quantType, path: `${path}.backend` });
  const svdq = parseSvdq(svdqKwargs, { quantType, path: `${path}.svdqKwargs` });
  const components = Array.isArray(componentsToQuantize)
    ? Object.fromEntries(componentsToQuantize.map((name) => [name, {}]))
    : componentsToQuantize;
  return {
    ...rest,
    quantType,
    componentsToQuantize: components,
    precisionPlan: Object.entries(precisionPlan).map(
      ([name, type]) => [name, parseQuantType(type, `${path}.precisionPlan.${name}`)] as const,
    ),
    smooth: svdq.smoothStrategy !== 'identity',
    svdq,
  };
}

/** A component's config: the shared options, but for what its own ones override. */
export function componentConfig(shared: QuantizeOptions, own: QuantizeOptions, path: string): QuantizeConfig {
  const { componentsToQuantize: _, ...rest } = namedOptions(fields, shared, path);
  return parseQuantizeConfig({ ...rest, ...namedOptions(fields, own, path) }, path);
}

/** cache-dit names the library that quantises; here there is one, but a contradiction is still a mistake. */
function checkBackend(backend: string, { quantType, path }: { quantType: QuantType; path: string }): void {
  const name = backend.toLowerCase().replace(/[-_]/g, '');
  const fits = svdVariant(quantType) ? ['auto', 'cachedit', 'svdq', 'svdquant'] : ['auto', 'ao', 'torchao'];
  if (!fits.includes(name)) {
    throw new DejaDitError('INVALID_CONFIG', `'${backend}' does not quantise to ${quantType}; leave it out`, { path });
  }
}

function parseSvdq(options: unknown, { quantType, path }: { quantType: QuantType; path: string }): SvdqConfig {
  const read = readOptions({ ...svdqFields, ...cudaFields }, options, path);
  const ignored = Object.keys(cudaFields).filter((name) => name in read);
  if (ignored.length > 0) warn(`${path}: ${ignored.join(', ')} steer CUDA kernels and change nothing here`);
  if (read.fewShotRelaxFactor > 3)
    warn(`${path}.fewShotRelaxFactor: ${read.fewShotRelaxFactor} is far above what helps`);
  return {
    calibratePrecision: read.calibratePrecision,
    smoothStrategy: read.smoothStrategy ?? (svdVariant(quantType)?.calibrated ? 'activation' : 'identity'),
    fewShotSteps: read.fewShotSteps,
    relaxation: {
      factor: read.fewShotRelaxFactor,
      topRatio: read.fewShotRelaxTopRatio,
      strategy: read.fewShotRelaxStrategy,
    },
    refineIterations: read.svdRefineIters,
  };
}
