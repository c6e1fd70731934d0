/** What pipelines are made of: components as definitions declare them, loaded by their names in `model_index.json`. */
import { DejaDitError } from '../errors/errors.ts';
import { statPath } from '../files/files.ts';
import { joinPath } from '../files/paths.ts';
import { loadModel } from '../models/auto-model.ts';
import { Autoencoder } from '../models/autoencoders/autoencoder.ts';
import { ConfigReader } from '../models/config-reader.ts';
import { GraphModel } from '../models/graph-model.ts';
import type { LoadedModel } from '../models/load/assemble-model.ts';
import type { LoadOptions } from '../models/load/load-options.ts';
import { loadSingleFile } from '../models/load/load-single-file.ts';
import { TransformerModel } from '../models/transformer-model.ts';
import { createScheduler } from '../schedulers/create-scheduler.ts';
import type { Scheduler } from '../schedulers/scheduler.ts';
import { loadTokenizer, type Tokenizer } from '../tokenizers/tokenizer.ts';
import { type ComponentSource, type ModelFolder, readConfig, requireComponent } from '../weights/model-folder.ts';
import type { PipelineLoadOptions } from './pipeline.ts';
import { ControlNets } from './request/control-nets.ts';
import { type Guider, readGuider } from './request/guider.ts';
import { ImageEncoder, readClipProcessor } from './request/image-encoder.ts';
import { type MixGuider, readMixGuider } from './request/mix-guidance.ts';
import { readPictureProcessor } from './request/picture-processor.ts';
import { TextConditioner } from './request/text-conditioner.ts';
import { TextEncoder } from './request/text-encoder.ts';
import { VisionEncoder } from './request/vision-encoder.ts';

/** A component of a pipeline, as its definition declares it. */
export interface Part<T> {
  /** @param name of the component in `model_index.json` */
  load(loader: ComponentLoader, name: string): Promise<T>;
  /** That name, where it is not the key's. */
  readonly component?: string;
}

/** Components by the names they have in `model_index.json`, in camelCase: `textEncoder2` for `text_encoder_2`. */
export type Parts = Readonly<Record<string, Part<unknown>>>;

export type Loaded<P extends Parts> = { readonly [Name in keyof P]: P[Name] extends Part<infer T> ? T : never };

/** @param classNames Diffusers' names of the classes that the pipeline can run */
export function transformer(...classNames: readonly [string, ...string[]]): Part<TransformerModel> {
  return {
    load: async (loader, name) => {
      const model = await loader.transformer(name);
      if (classNames.includes(model.className)) return model;
      const message = `component '${name}' is a ${model.className}, expected ${classNames.join(' or ')}`;
      throw new DejaDitError('INVALID_CONFIG', message, { path: loader.folderOf(name) });
    },
  };
}

export function autoencoder(): Part<Autoencoder> {
  return { load: (loader, name) => loader.autoencoder(name) };
}

/** @param preset of modular pipelines whose repositories have none */
export function scheduler(preset?: { className: string; config: Readonly<Record<string, unknown>> }): Part<Scheduler> {
  return {
    load: async (loader, name) =>
      preset && !loader.has(name) ? createScheduler(preset.className, preset.config) : loader.scheduler(name),
  };
}

/** What a modular pipeline guides with. @param scale where its repository has none */
export function guider(scale: number): Part<Guider> {
  return { load: async (loader, name) => (loader.has(name) ? readGuider(loader.folderOf(name)) : { scale }) };
}

/** A tokenizer that no text encoder of the pipeline belongs to. */
export function tokenizer(): Part<Tokenizer> {
  return { load: (loader, name) => loadTokenizer(loader.folderOf(name)) };
}

/** A transformer that makes of texts what another one takes. It is never cached. */
export function textConditioner(className: string): Part<TextConditioner> {
  const part = transformer(className);
  return { load: async (loader, name) => new TextConditioner(await part.load(loader, name)) };
}

/** With the tokenizer of the same number: `tokenizer_2` for `text_encoder_2`. */
export function textEncoder(): Part<TextEncoder> {
  return { load: (loader, name) => loader.textEncoder(name) };
}

/** A text encoder that sees pictures, with the tokenizer and the image processor of the component `processor`. */
export function visionEncoder(): Part<VisionEncoder> {
  return { load: (loader, name) => loader.visionEncoder(name) };
}

/** Nets whose outputs a transformer adds to those of its own blocks: the checkpoint's, or those given in its place. @param classNames as of `transformer` */
export function controlNets(...classNames: readonly [string, ...string[]]): Part<ControlNets> {
  return { load: (loader, name) => loader.controlNets(name, classNames) };
}

/** HunyuanImage's way to guide. */
export function mixGuider(): Part<MixGuider> {
  return { load: (loader, name) => loader.mixGuider(name) };
}

/** With its processor: `image_processor` for `image_encoder`. */
export function imageEncoder(): Part<ImageEncoder> {
  return { load: (loader, name) => loader.imageEncoder(name) };
}

/** What checkpoints may do without. */
export function optional<T>(part: Part<T>): Part<T | undefined> {
  return { load: async (loader, name) => (loader.has(name) ? part.load(loader, name) : undefined) };
}

/** A part that checkpoints have under a name of its own. */
export function named<T>(component: string, part: Part<T>): Part<T> {
  return { ...part, component };
}

/** The name of a part in `model_index.json`: its own, or `textEncoder2` → `text_encoder_2`. */
export function componentName(key: string, { component }: Pick<Part<unknown>, 'component'>): string {
  return component ?? key.replaceAll(/[A-Z]|\d+/g, (part) => `_${part.toLowerCase()}`);
}

/**
 * Loads what a pipeline consists of, in the order in which it is declared: the transformer best last, so that whatever is wrong with the
 * small parts shows before it is read. If one fails, those before it are freed.
 */
export async function loadComponents<P extends Parts>(
  folder: ModelFolder,
  options: PipelineLoadOptions,
  parts: P,
): Promise<Loaded<P>> {
  const known = Object.entries(parts).map(([key, part]) => componentName(key, part));
  const strange = Object.keys(options.sources ?? {}).find((name) => !known.includes(name));
  if (strange !== undefined)
    throw new DejaDitError('INVALID_ARGUMENT', `a ${folder.className} has no such component`, { path: strange });
  const loader = new ComponentLoader(folder, options);
  const components: Record<string, unknown> = {};
  try {
    for (const [key, part] of Object.entries(parts)) {
      components[key] = await part.load(loader, componentName(key, part));
    }
    if (options.layerwiseTextOffload && !Object.values(components).some(isEncoder))
      throw new DejaDitError('INVALID_ARGUMENT', `a ${folder.className} has no text encoder`, {
        path: 'layerwiseTextOffload',
      });
    return components as Loaded<P>;
  } catch (error) {
    await disposeAll(loader.loaded);
    throw error;
  }
}

/** What reads texts, or pictures in their place, and is offloaded with it. */
const isEncoder = (component: unknown) => component instanceof TextEncoder || component instanceof ImageEncoder;

/** Disposes whatever can be disposed. */
export async function disposeAll(components: readonly unknown[]): Promise<void> {
  const disposable = (component: unknown): component is { dispose(): Promise<void> } =>
    typeof (component as { dispose?: unknown } | undefined)?.dispose === 'function';
  await Promise.all(components.filter(disposable).map((component) => component.dispose()));
}

export class ComponentLoader {
  /** What has been loaded so far. */
  readonly loaded: unknown[] = [];

  private readonly options: LoadOptions;
  private readonly textOffload: PipelineLoadOptions['layerwiseTextOffload'];
  private readonly sources: NonNullable<PipelineLoadOptions['sources']>;

  constructor(
    readonly folder: ModelFolder,
    { layerwiseTextOffload, sources = {}, ...options }: PipelineLoadOptions,
  ) {
    this.options = options;
    this.textOffload = layerwiseTextOffload;
    this.sources = sources;
  }

  /** Whether the checkpoint has this component. */
  has(name: string): boolean {
    return Boolean(this.folder.components.get(name));
  }

  async transformer(name = 'transformer'): Promise<TransformerModel> {
    const model = await this.model(name, this.options);
    if (model instanceof TransformerModel) return model;
    throw this.wrongKind(name, model, 'a transformer');
  }

  async autoencoder(name = 'vae'): Promise<Autoencoder> {
    const model = await this.model(name, { ...this.options, layerwiseOffload: false });
    return Autoencoder.of(model);
  }

  /** A text encoder and its tokenizer: components `text_encoder<suffix>` and `tokenizer<suffix>`. */
  async textEncoder(name = 'text_encoder'): Promise<TextEncoder> {
    const tokenizer = await loadTokenizer(this.folderOf(name.replace('text_encoder', 'tokenizer')));
    const model = await this.model(name, { ...this.options, layerwiseOffload: this.textOffload, textOnly: true });
    if (model instanceof GraphModel) return new TextEncoder(name, model, tokenizer);
    throw this.wrongKind(name, model, 'a text encoder');
  }

  async visionEncoder(name = 'text_encoder'): Promise<VisionEncoder> {
    const folder = this.folderOf('processor');
    const tokenizer = await loadTokenizer(folder);
    // Transformers 5 has one file for all that a processor does.
    const [now, before] = ['processor_config.json', 'preprocessor_config.json'];
    const { config, path } = await readConfig(folder, (await statPath(joinPath(folder, now))) ? now : before);
    const processor = readPictureProcessor(new ConfigReader(config, path));
    const model = await this.model(name, { ...this.options, layerwiseOffload: this.textOffload });
    if (model instanceof GraphModel) return new VisionEncoder(name, model, tokenizer, processor);
    throw this.wrongKind(name, model, 'a text encoder');
  }

  async imageEncoder(name = 'image_encoder'): Promise<ImageEncoder> {
    const { config, path } = await readConfig(
      this.folderOf(name.replace('encoder', 'processor')),
      'preprocessor_config.json',
    );
    const model = await this.model(name, { ...this.options, layerwiseOffload: this.textOffload });
    if (model instanceof GraphModel) return new ImageEncoder(model, readClipProcessor(new ConfigReader(config, path)));
    throw this.wrongKind(name, model, 'an image encoder');
  }

  async scheduler(name = 'scheduler'): Promise<Scheduler> {
    const { className, folder } = requireComponent(this.folder, name);
    return loadScheduler(folder, className);
  }

  async controlNets(name: string, classNames: readonly string[]): Promise<ControlNets> {
    const source = this.sources[name];
    const isList = Array.isArray(source);
    const loaded = new Map<string, GraphModel>();
    const load = async (from: ComponentSource | undefined): Promise<GraphModel> => {
      const path = from?.path ?? this.folderOf(name);
      const known = loaded.get(path);
      if (known) return known;
      const model = await this.modelFrom(from, name, this.options);
      if (!(model instanceof GraphModel) || !classNames.includes(model.className))
        throw this.wrongKind(name, model, classNames.join(' or '), path);
      loaded.set(path, model);
      return model;
    };
    const nets: GraphModel[] = [];
    for (const from of isList ? (source as readonly ComponentSource[]) : [source as ComponentSource | undefined])
      nets.push(await load(from));
    return new ControlNets(nets as [GraphModel, ...GraphModel[]], isList);
  }

  async mixGuider(name: string): Promise<MixGuider> {
    const { className, folder } = requireComponent(this.folder, name);
    const { config, path } = await readConfig(folder, 'guider_config.json');
    return readMixGuider(className, new ConfigReader(config, path));
  }

  folderOf(name: string): string {
    return requireComponent(this.folder, name).folder;
  }

  /** A file is described by the config that the pipeline has of the component. */
  private model(name: string, options: LoadOptions): Promise<LoadedModel> {
    return this.modelFrom(this.sources[name] as ComponentSource | undefined, name, options);
  }

  private async modelFrom(
    source: ComponentSource | undefined,
    name: string,
    options: LoadOptions,
  ): Promise<LoadedModel> {
    const { variant: _, ...load } = options;
    const model =
      source?.kind === 'file'
        ? await loadSingleFile(source.path, { ...load, config: this.folderOf(name), component: name })
        : await loadModel(source?.path ?? this.folderOf(name), source ? load : options);
    this.loaded.push(model);
    return model;
  }

  private wrongKind(name: string, { className }: LoadedModel, kind: string, path = this.pathOf(name)): DejaDitError {
    return new DejaDitError('INVALID_CONFIG', `component '${name}': ${className} is not ${kind}`, { path });
  }

  private pathOf(name: string): string {
    return (this.sources[name] as ComponentSource | undefined)?.path ?? this.folderOf(name);
  }
}

/**
 * The scheduler whose `scheduler_config.json` is in a folder.
 * @throws DejaDitError naming that file, and the class or field that is wrong
 */
export async function loadScheduler(folder: string, className: string): Promise<Scheduler> {
  const { config, path } = await readConfig(folder, 'scheduler_config.json');
  try {
    return createScheduler(className, config);
  } catch (cause) {
    throw cause instanceof DejaDitError ? new DejaDitError(cause.code, cause.message, { path, cause }) : cause;
  }
}
