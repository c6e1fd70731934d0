/** Loading what pipelines are made of: one component by its name in `model_index.json`. */
import { DejaDitError } from '../errors/errors.ts';
import { AutoModel, type LoadOptions, loadModel } from '../models/auto-model.ts';
import { Autoencoder } from '../models/autoencoders/autoencoder.ts';
import { GraphModel } from '../models/graph-model.ts';
import type { TransformerModel } from '../models/transformer-model.ts';
import { createScheduler } from '../schedulers/create-scheduler.ts';
import type { Scheduler } from '../schedulers/scheduler.ts';
import { loadTokenizer } from '../tokenizers/tokenizer.ts';
import { type ModelFolder, readConfig, requireComponent } from '../weights/model-folder.ts';
import { disposeAll, type PipelineLoadOptions } from './pipeline.ts';
import { TextEncoder } from './request/text-encoder.ts';

/**
 * Loads what a pipeline consists of. If a part fails, those before it are freed.
 * @param parts loads the components; the transformer best last, so that whatever is wrong with the small parts shows before it is read
 */
export async function loadComponents<C>(
  folder: ModelFolder,
  options: PipelineLoadOptions,
  parts: (load: ComponentLoader) => Promise<C>,
): Promise<C> {
  const loader = new ComponentLoader(folder, options);
  try {
    const components = await parts(loader);
    if (options.layerwiseTextOffload && !loader.loaded.some((component) => component instanceof GraphModel))
      throw new DejaDitError('INVALID_ARGUMENT', `a ${folder.className} has no text encoder`, {
        path: 'layerwiseTextOffload',
      });
    return components;
  } catch (error) {
    await disposeAll(loader.loaded);
    throw error;
  }
}

export class ComponentLoader {
  /** What has been loaded so far. */
  readonly loaded: unknown[] = [];

  private readonly options: LoadOptions;
  private readonly textOffload: PipelineLoadOptions['layerwiseTextOffload'];

  constructor(
    readonly folder: ModelFolder,
    { layerwiseTextOffload, ...options }: PipelineLoadOptions,
  ) {
    this.options = options;
    this.textOffload = layerwiseTextOffload;
  }

  /** Whether the checkpoint has this component. */
  has(name: string): boolean {
    return Boolean(this.folder.components.get(name));
  }

  transformer(name = 'transformer'): Promise<TransformerModel> {
    return this.keep(AutoModel.fromPretrained(this.folderOf(name), this.options));
  }

  autoencoder(name = 'vae'): Promise<Autoencoder> {
    return this.keep(Autoencoder.fromPretrained(this.folderOf(name), { ...this.options, layerwiseOffload: false }));
  }

  /** A text encoder and its tokenizer: components `text_encoder<suffix>` and `tokenizer<suffix>`. */
  async textEncoder(suffix: '' | '_2' | '_3' = ''): Promise<TextEncoder> {
    const [name, folder] = [`text_encoder${suffix}`, this.folderOf(`text_encoder${suffix}`)];
    const tokenizer = await loadTokenizer(this.folderOf(`tokenizer${suffix}`));
    const model = await this.keep(loadModel(folder, { ...this.options, layerwiseOffload: this.textOffload }));
    if (model instanceof GraphModel) return new TextEncoder(name, model, tokenizer);
    throw new DejaDitError('INVALID_CONFIG', `component '${name}' is a ${model.className}, not a text encoder`, {
      path: folder,
    });
  }

  async scheduler(name = 'scheduler'): Promise<Scheduler> {
    const { className, folder } = requireComponent(this.folder, name);
    return loadScheduler(folder, className);
  }

  private folderOf(name: string): string {
    return requireComponent(this.folder, name).folder;
  }

  private async keep<T>(loading: Promise<T>): Promise<T> {
    const component = await loading;
    this.loaded.push(component);
    return component;
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
