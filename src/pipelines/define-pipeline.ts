/**
 * `definePipeline`: a pipeline as data. A definition says which options there are, of which components it consists and how a request is
 * run (`request/plan.ts`); loading, reading of requests, denoising, caching, progress and memory are the same for all.
 */
import { DejaDitError } from '../errors/errors.ts';
import { WarningLog } from '../errors/warnings.ts';
import { Autoencoder } from '../models/autoencoders/autoencoder.ts';
import { ConfigReader } from '../models/config-reader.ts';
import { GraphModel } from '../models/graph-model.ts';
import { enterAll } from '../models/occupancy.ts';
import { TransformerModel } from '../models/transformer-model.ts';
import type { Backend } from '../runtime/backend.ts';
import type { ProgramCache } from '../runtime/program-cache.ts';
import { componentName, disposeAll, type Loaded, loadComponents, type Part, type Parts } from './components.ts';
import type { GenerationDefaults, LoadedPipeline, PipelineClass, PipelineTraits } from './pipeline.ts';
import { ControlNets } from './request/control-nets.ts';
import { ImageEncoder } from './request/image-encoder.ts';
import type { Plan } from './request/plan.ts';
import { type CoreParts, PipelineRequest } from './request/request.ts';
import { chooseScheduler, levelsOf } from './request/scheduler-choice.ts';
import { TextConditioner } from './request/text-conditioner.ts';
import { type PromptWeighting, TextEncoder } from './request/text-encoder.ts';
import type { GenerateOptions, GenerateResult, OptionName } from './schema/options.ts';
import {
  type AnyPipelineOptions,
  type PipelineOptions,
  type ResolvedOptions,
  resolveOptions,
} from './schema/pipeline-options.ts';
import { type PromptSettings, readSettings, type Settings } from './schema/read-settings.ts';

/** What every pipeline consists of, beside text encoders and the like. */
export type CoreComponents = { readonly [Name in keyof CoreParts]: Part<CoreParts[Name]> };

/** What a plan is made from. */
export interface PlanRequest<P extends Parts, Config, O extends AnyPipelineOptions> {
  parts: Loaded<P>;
  /** What `config` of the definition read. */
  config: Config;
  /** Every option that has a default, and those that were given. */
  settings: Settings<O>;
  /** What readers of texts want to know beside lengths. */
  reading: { signal: AbortSignal | undefined; warnings: WarningLog; weighting: PromptWeighting | undefined };
  warnings: WarningLog;
}

/** What a loaded model determines of the options: its components, and `config`. */
export type Model<P extends Parts, Config = unknown> = Loaded<P> & { readonly config: Config };

export interface PipelineDefinition<
  P extends Parts & CoreComponents,
  Config,
  O extends PipelineOptions<Model<P, Config>>,
> {
  /** Diffusers' names of the pipelines that this one does the work of. */
  classNames: readonly [string, ...string[]];
  components: P;
  /** Reads what `model_index.json` says beside its components. Default: nothing. */
  config?: (config: ConfigReader) => Config;
  /** Default `images`. */
  output?: 'images' | 'videos';
  options: O & { options: { readonly [Name in Exclude<keyof O['options'], OptionName>]: never } };
  /** How a request is run. @throws DejaDitError naming the option that cannot be used */
  plan(request: PlanRequest<P, Config, O>): Plan | Promise<Plan>;
}

/**
 * Makes a definition a class that `DiffusionPipeline.fromPretrained` loads; `registerPipeline` makes one of your own known.
 * `docs/adding-a-pipeline.md` goes through an example line by line.
 */
export function definePipeline<
  P extends Parts & CoreComponents,
  O extends PipelineOptions<Model<P, Config>>,
  Config = unknown,
>(definition: PipelineDefinition<P, Config, O>): PipelineClass {
  const { classNames, options } = definition;
  return {
    classNames,
    options,
    async load(folder, defaults, loadOptions) {
      const { className, path, indexFile } = folder;
      const reader = new ConfigReader(folder.options, indexFile);
      const config = definition.config?.(reader) as Config;
      reader.rejectUnsupported();
      const parts = await loadComponents(folder, loadOptions, definition.components);
      return new DefinedPipeline(definition, { className, path, defaults, parts, config });
    },
  };
}

interface LoadedParts<P extends Parts, Config> {
  className: string;
  path: string;
  defaults: GenerationDefaults;
  parts: Loaded<P>;
  config: Config;
}

/** A loaded pipeline: it owns its components and reads requests. */
class DefinedPipeline<P extends Parts & CoreComponents, Config, O extends PipelineOptions<Model<P, Config>>>
  implements LoadedPipeline
{
  readonly options: ResolvedOptions;
  private disposed = false;
  private backend: Backend | undefined;

  constructor(
    private readonly definition: PipelineDefinition<P, Config, O>,
    private readonly loaded: LoadedParts<P, Config>,
  ) {
    const { parts, config, defaults } = loaded;
    this.options = resolveOptions<Model<P, Config>>(definition.options, { model: { ...parts, config }, defaults });
  }

  get traits(): PipelineTraits {
    const { options: spec, output = 'images' } = this.definition;
    const option = spec.guidance?.option ?? 'guidanceScale';
    const distilled = 'guidanceScale' in spec.options && this.core.transformer.traits.guidanceEmbedding;
    return {
      subject: spec.conditions ? 'prompt' : 'classLabels',
      guidance: distilled ? 'guidanceScale' : option,
      output,
      levels: levelsOf(this.core.scheduler),
    };
  }

  async generate(options: GenerateOptions): Promise<GenerateResult> {
    const request = await this.begin(options);
    try {
      while (!request.done) await request.step();
      return await request.finish();
    } finally {
      request.end();
    }
  }

  async begin(options: GenerateOptions): Promise<PipelineRequest> {
    if (this.disposed) throw new DejaDitError('DISPOSED', `this ${this.className} was disposed`);
    // While models are entered, their weights stay as they are.
    const leave = enterAll(modelsIn(Object.values(this.loaded.parts)));
    try {
      const warnings = new WarningLog();
      const { output = 'images', plan, options: spec } = this.definition;
      const { config } = this.loaded;
      const settings = readSettings(options, {
        pipeline: this.className,
        spec: spec as O,
        options: this.options,
        warnings,
      });
      const parts = this.partsFor(settings as GenerateOptions);
      const { conditions, batch } = settings as Partial<PromptSettings>;
      const { promptWeighting: weighting }: GenerateOptions = settings;
      const reading = { signal: options.signal, warnings, weighting };
      const made = await plan({ parts, config, settings, reading, warnings });
      const context = {
        plan: made,
        parts: parts as CoreParts,
        settings: settings as GenerateOptions,
        conditions,
        batch: batch ?? made.latents.shape[0]!,
        scale: (settings as GenerateOptions)[spec.guidance?.option ?? 'guidanceScale'] ?? 1,
        output,
        transformers: this.transformers,
        onStep: this.callbackOf(settings),
        warnings,
      };
      return await PipelineRequest.begin(context, leave);
    } catch (error) {
      leave();
      throw error;
    }
  }

  own(backend: Backend): void {
    this.backend = backend;
  }

  get className(): string {
    return this.loaded.className;
  }

  get path(): string {
    return this.loaded.path;
  }

  get programs(): ProgramCache {
    return this.core.transformer.programs;
  }

  get transformers(): Record<string, TransformerModel> {
    return this.named((part) => (part instanceof TransformerModel ? part : undefined));
  }

  get models(): Record<string, GraphModel> {
    const own = this.named((part) =>
      part instanceof TextEncoder || part instanceof ImageEncoder ? part.model : undefined,
    );
    const nets = this.named((part) => (part instanceof ControlNets ? part : undefined));
    return Object.assign(own, ...Object.entries(nets).map(([name, part]) => part.models(name)));
  }

  get autoencoders(): Record<string, Autoencoder> {
    return this.named((part) => (part instanceof Autoencoder ? part : undefined));
  }

  get components(): string[] {
    return Object.keys(this.named((part) => part));
  }

  async dispose(): Promise<void> {
    this.disposed = true;
    await disposeAll(Object.values(this.loaded.parts));
    await this.backend?.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** The components, with the request's own scheduler. */
  private partsFor({ scheduler }: GenerateOptions): Loaded<P> {
    const { parts } = this.loaded;
    return scheduler === undefined ? parts : { ...parts, scheduler: chooseScheduler(this.core.scheduler, scheduler) };
  }

  /** `onStep`, or Diffusers' callback in its place. */
  private callbackOf({ onStep, callbackOnStepEnd }: GenerateOptions): GenerateOptions['onStep'] {
    if (!callbackOnStepEnd) return onStep;
    if (onStep)
      throw new DejaDitError('INVALID_ARGUMENT', 'is given beside onStep; give one of the two', {
        path: 'callbackOnStepEnd',
      });
    return ({ step, timestep, latents }) => callbackOnStepEnd(this, step - 1, timestep, { latents });
  }

  private get core(): CoreParts {
    return this.loaded.parts as CoreParts;
  }

  /** Components of a kind, by their names in the checkpoint. */
  private named<T>(of: (part: unknown) => T | undefined): Record<string, T> {
    return Object.fromEntries(
      Object.entries(this.loaded.parts).flatMap(([key, part]) => {
        const found = of(part);
        return found === undefined ? [] : [[componentName(key, this.definition.components[key]!), found] as const];
      }),
    );
  }
}

function modelsIn(parts: readonly unknown[]): (TransformerModel | GraphModel)[] {
  return parts.flatMap((part): (TransformerModel | GraphModel)[] => {
    if (part instanceof TransformerModel || part instanceof GraphModel) return [part];
    if (part instanceof ControlNets) return [...new Set(part.nets)];
    const holdsModel = [TextEncoder, ImageEncoder, TextConditioner, Autoencoder].some((kind) => part instanceof kind);
    return holdsModel ? [(part as { model: TransformerModel | GraphModel }).model] : [];
  });
}
