/** What all pipelines have: components loaded from one folder, and transformers that a cache can be put on. */
import { DejaDitError } from '../errors/errors.ts';
import { WarningLog } from '../errors/warnings.ts';
import { Autoencoder } from '../models/autoencoders/autoencoder.ts';
import type { GraphModel } from '../models/graph-model.ts';
import { enterAll } from '../models/occupancy.ts';
import { TransformerModel } from '../models/transformer-model.ts';
import type { Backend } from '../runtime/backend.ts';
import type { ProgramCache } from '../runtime/program-cache.ts';
import type { ModelFolder } from '../weights/model-folder.ts';
import type { OffloadOptions } from '../weights/offload/options.ts';
import type { WeightStoreOptions } from '../weights/weight-store.ts';
import { type GenerateRequest, type Plan, runRequest } from './request/request.ts';
import { TextEncoder } from './request/text-encoder.ts';
import type { GenerateOptions, GenerateResult } from './schema/options.ts';
import {
  type AnyPipelineOptions,
  type PipelineOptions,
  type ResolvedOptions,
  resolveOptions,
} from './schema/pipeline-options.ts';
import { readSettings, type Settings } from './schema/read-settings.ts';

export interface PipelineLoadOptions {
  programs: ProgramCache;
  variant?: string | undefined;
  weightDtype?: WeightStoreOptions['weightDtype'];
  /** For transformers larger than memory, see `LoadOptions`. */
  layerwiseOffload?: boolean | OffloadOptions | undefined;
  /** The same for text encoders. Autoencoders are always loaded whole. */
  layerwiseTextOffload?: boolean | OffloadOptions | undefined;
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
  readonly traits: PipelineTraits;
  /** What `generate` takes: with the defaults of the checkpoint, within the bounds of the model. */
  readonly options: ResolvedOptions;
  /**
   * Runs one request; several may run at the same time.
   * @throws DejaDitError naming the option that cannot be used; `ABORTED` if the signal fired; `DISPOSED` if the pipeline or its
   *   backend is disposed meanwhile; `BUSY` while its weights are being changed
   */
  generate(options: GenerateOptions): Promise<GenerateResult>;
  /**
   * Frees all components, the programs that no other model uses, and the backend if `fromPretrained` made it for this pipeline.
   * Requests under way end as `DISPOSED`, after their current run.
   */
  dispose(): Promise<void>;
}

/** How `DiffusionPipeline.fromPretrained` makes a pipeline of one class. */
export interface PipelineClass {
  readonly classNames: readonly string[];
  readonly options: AnyPipelineOptions;
  load(folder: ModelFolder, defaults: GenerationDefaults, options: PipelineLoadOptions): Promise<LoadedPipeline>;
}

/** What it hands out as a `Pipeline`. */
type LoadedPipeline = Pipeline & { own(backend: Backend): void };

/** Where a pipeline came from. */
export interface Origin {
  readonly className: string;
  readonly path: string;
  readonly defaults: GenerationDefaults;
}

/** Components by name; transformers under the names that they have in the checkpoint. */
export type Components = Readonly<Record<string, unknown>> & { readonly transformer: TransformerModel };

/** The part of a pipeline that is the same for all: it owns its components and reads requests. */
export abstract class ComponentPipeline<C extends Components, Model, Spec extends PipelineOptions<Model>>
  implements Pipeline
{
  abstract readonly traits: PipelineTraits;
  /** The options it takes. */
  protected abstract readonly spec: Spec;
  /** What of the components determines them. */
  protected abstract readonly model: Model;

  private disposed = false;
  private backend: Backend | undefined;
  private resolved: ResolvedOptions | undefined;

  constructor(
    protected readonly origin: Origin,
    protected readonly components: C,
  ) {}

  /** How a request is run. @throws DejaDitError naming the option that cannot be used */
  protected abstract plan(request: GenerateRequest<Settings<Spec>>): Plan | Promise<Plan>;

  get options(): ResolvedOptions {
    this.resolved ??= resolveOptions(this.spec, { model: this.model, defaults: this.origin.defaults });
    return this.resolved;
  }

  async generate(options: GenerateOptions): Promise<GenerateResult> {
    if (this.disposed) throw new DejaDitError('DISPOSED', `this ${this.className} was disposed`);
    // While models are entered, their weights stay as they are.
    const leave = enterAll(modelsIn(Object.values(this.components)));
    try {
      const warnings = new WarningLog();
      const { className: pipeline, spec } = this;
      const settings = readSettings(options, { pipeline, spec, options: this.options, warnings });
      const request = { settings, warnings };
      return await runRequest(request, { plan: await this.plan(request), transformers: this.transformers });
    } finally {
      leave();
    }
  }

  /** Makes the backend one that is disposed with the pipeline. */
  own(backend: Backend): void {
    this.backend = backend;
  }

  get className(): string {
    return this.origin.className;
  }

  get path(): string {
    return this.origin.path;
  }

  get programs(): ProgramCache {
    return this.components.transformer.programs;
  }

  get transformers(): Record<string, TransformerModel> {
    const isTransformer = (entry: [string, unknown]): entry is [string, TransformerModel] =>
      entry[1] instanceof TransformerModel;
    return Object.fromEntries(Object.entries(this.components).filter(isTransformer));
  }

  get models(): Record<string, GraphModel> {
    const encoders = Object.values(this.components).filter((component) => component instanceof TextEncoder);
    return Object.fromEntries(encoders.map(({ name, model }) => [name, model]));
  }

  async dispose(): Promise<void> {
    this.disposed = true;
    await disposeAll(Object.values(this.components));
    await this.backend?.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

function modelsIn(components: readonly unknown[]): (TransformerModel | GraphModel)[] {
  return components.flatMap((component): (TransformerModel | GraphModel)[] => {
    if (component instanceof TransformerModel) return [component];
    return component instanceof TextEncoder || component instanceof Autoencoder ? [component.model] : [];
  });
}

/** Disposes whatever can be disposed. */
export async function disposeAll(components: readonly unknown[]): Promise<void> {
  const disposable = (component: unknown): component is { dispose(): Promise<void> } =>
    typeof (component as { dispose?: unknown } | undefined)?.dispose === 'function';
  await Promise.all(components.filter(disposable).map((component) => component.dispose()));
}
