/** What all pipelines have: components loaded from one folder, and transformers that a cache can be put on. */
import type { TransformerModel } from '../models/transformer-model.ts';
import type { ProgramCache } from '../runtime/program-cache.ts';
import type { ModelFolder } from '../weights/model-folder.ts';
import type { WeightStoreOptions } from '../weights/weight-store.ts';
import type { GenerateOptions, GenerateResult } from './options.ts';

export interface PipelineLoadOptions {
  programs: ProgramCache;
  variant?: string | undefined;
  weightDtype?: WeightStoreOptions['weightDtype'];
  signal?: AbortSignal | undefined;
}

/** Defaults that a checkpoint brings along in `generation_config.json`, camelCased. */
export type GenerationDefaults = Readonly<Record<string, unknown>>;

export interface Pipeline {
  /** Diffusers' class name. */
  readonly className: string;
  /** Folder it was loaded from. */
  readonly path: string;
  readonly programs: ProgramCache;
  /** By component name: `transformer`, and `transformer_2` where there are two experts. */
  readonly transformers: Readonly<Record<string, TransformerModel>>;
  generate(options: GenerateOptions): Promise<GenerateResult>;
  /** Frees all components. */
  dispose(): Promise<void>;
}

/** How `DiffusionPipeline.fromPretrained` makes a pipeline of one class. */
export interface PipelineClass {
  readonly classNames: readonly string[];
  load(folder: ModelFolder, defaults: GenerationDefaults, options: PipelineLoadOptions): Promise<Pipeline>;
}
