/** What a server and its engine process say to each other. All of it is plain data. */
import type { EnableCacheOptions } from '../../api/enable-cache.ts';
import type { PipelineTraits } from '../../pipelines/pipeline.ts';
import type { OptionsSchema } from '../../pipelines/schema/json-schema.ts';
import type { JobError, WorkEvent, WorkKind, WorkResult } from '../jobs/job.ts';
import type { Task } from '../jobs/runner.ts';
import type { ServerOptions } from '../settings.ts';

/** Where models come from and how they are loaded. */
export interface EngineSettings {
  /** Paths or repositories by name; the first is loaded at the start. */
  models: readonly { name: string; source: string }[];
  /** Bytes that the loaded models may take together. */
  memory: number;
  /** Set on every pipeline; requests may bring their own. */
  cache: EnableCacheOptions | undefined;
  load: Pick<
    ServerOptions,
    | 'variant'
    | 'revision'
    | 'offline'
    | 'backend'
    | 'computeDtype'
    | 'threads'
    | 'layerwiseOffload'
    | 'layerwiseTextOffload'
    | 'maxProgramBytes'
  >;
  lora: ServerOptions['lora'];
  loraDir: ServerOptions['loraDir'];
  /** Largest picture that is decoded, in pixels. */
  maxPixels: number;
}

/** What a loaded model is. */
export interface ModelInfo extends PipelineTraits {
  /** Diffusers' class name of the pipeline. */
  className: string;
  path: string;
  /** What `generate` takes, with the defaults of the checkpoint. */
  schema: OptionsSchema;
  /** Component names. */
  transformers: readonly string[];
  /** What it computes on, for people: `cpu (worker thread)`. */
  backend: string;
}

export type ModelState =
  /** `info` of one that was loaded before. */
  | { state: 'unloaded' | 'loading'; info?: ModelInfo }
  | { state: 'loaded'; info: ModelInfo; bytes: number }
  | { state: 'failed'; error: JobError };

export type ToEngine =
  | { start: EngineSettings }
  /** Load a model ahead of need. */
  | { load: string }
  /** Free a model when no task uses it any more. */
  | { unload: string }
  | { run: Task }
  | { cancel: string }
  | { end: true };

export type FromEngine =
  | { model: string; now: ModelState }
  /** The first model is loaded, and has drawn once. */
  | { warm: true }
  | { event: WorkEvent; of: string }
  | { result: WorkResult<WorkKind>; of: string }
  | { error: JobError; of: string }
  | { warning: string };
