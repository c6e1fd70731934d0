/** What a loaded pipeline offers, whatever its class. How one is made is in `define-pipeline.ts`. */

import type { Autoencoder } from '../models/autoencoders/autoencoder.ts';
import type { ComputeDtype } from '../models/compute-dtype.ts';
import type { GraphModel } from '../models/graph-model.ts';
import type { TransformerModel } from '../models/transformer-model.ts';
import type { Backend } from '../runtime/backend.ts';
import type { ProgramCache } from '../runtime/program-cache.ts';
import type { ComponentSource, ModelFolder } from '../weights/model-folder.ts';
import type { OffloadOptions } from '../weights/offload/options.ts';
import type { WeightStoreOptions } from '../weights/weight-store.ts';
import type { PipelineRequest } from './request/request.ts';
import type { Levels } from './request/samplers.ts';
import type { GenerateOptions, GenerateResult } from './schema/options.ts';
import type { AnyPipelineOptions, ResolvedOptions } from './schema/pipeline-options.ts';

export interface PipelineLoadOptions {
  programs: ProgramCache;
  variant?: string | undefined;
  weightDtype?: WeightStoreOptions['weightDtype'];
  computeDtype?: ComputeDtype | undefined;
  /** For transformers larger than memory, see `LoadOptions`. */
  layerwiseOffload?: boolean | OffloadOptions | undefined;
  /** The same for text encoders. Autoencoders are always loaded whole. */
  layerwiseTextOffload?: boolean | OffloadOptions | undefined;
  /** Leaves weights in their files until they are needed, see `LoadOptions`. */
  deferWeights?: boolean | undefined;
  /** Components that come from elsewhere than the pipeline's folder, by name; ControlNets may be several. */
  sources?: Readonly<Record<string, ComponentSource | readonly ComponentSource[]>> | undefined;
  signal?: AbortSignal | undefined;
}

/** Defaults that a checkpoint brings along in `generation_config.json`, as they stand there. */
export type GenerationDefaults = Readonly<Record<string, unknown>>;

/** How requests are written that work with any pipeline: what command lines and servers need to know. */
export interface PipelineTraits {
  /** The option that says what to make. */
  subject: 'prompt' | 'classLabels';
  /** The option that sets how closely to follow it. */
  guidance: 'guidanceScale' | 'trueCfgScale';
  output: 'images' | 'videos';
  /** What its scheduler steps along, which decides what other ones a request may bring. */
  levels: Levels;
}

export interface Pipeline extends AsyncDisposable {
  /** Diffusers' class name. */
  readonly className: string;
  /** Folder it was loaded from. */
  readonly path: string;
  readonly programs: ProgramCache;
  /** By component name: `transformer`, and `transformer_2` where there are two experts. */
  readonly transformers: Readonly<Record<string, TransformerModel>>;
  /** Other models by component name that can be quantised: `text_encoder`, `text_encoder_2`, … */
  readonly models: Readonly<Record<string, GraphModel>>;
  /** By component name: `vae`. */
  readonly autoencoders: Readonly<Record<string, Autoencoder>>;
  /** Names of all components. */
  readonly components: readonly string[];
  readonly traits: PipelineTraits;
  /** What `generate` takes: with the defaults of the checkpoint, within the bounds of the model. */
  readonly options: ResolvedOptions;
  /**
   * Runs one request; several may run at the same time.
   * @throws DejaDitError naming the option that cannot be used; `ABORTED` if the signal fired; `DISPOSED` if the pipeline or its
   *   backend is disposed meanwhile; `BUSY` while its weights are being changed
   */
  generate(options: GenerateOptions): Promise<GenerateResult>;
  /** The same request up to its first step, for callers who take the steps themselves; they end it, see `PipelineRequest`. */
  begin(options: GenerateOptions): Promise<PipelineRequest>;
  /**
   * Frees all components, the programs that no other model uses, and the backend if `fromPretrained` made it for this pipeline.
   * Requests under way end as `DISPOSED`, after their current run.
   */
  dispose(): Promise<void>;
}

/** How `DiffusionPipeline.fromPretrained` makes a pipeline of one class. */
export interface PipelineClass {
  /** Diffusers' names of what it can do. */
  readonly classNames: readonly string[];
  readonly options: AnyPipelineOptions;
  load(folder: ModelFolder, defaults: GenerationDefaults, options: PipelineLoadOptions): Promise<LoadedPipeline>;
}

/** What it hands out as a `Pipeline`. */
export type LoadedPipeline = Pipeline & {
  /** Makes the backend one that is disposed with the pipeline. */
  own(backend: Backend): void;
};
