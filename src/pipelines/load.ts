/** Loading what pipelines are made of: one component by its name in `model_index.json`. */
import { DejaDitError } from '../errors/errors.ts';
import { AutoModel, loadModel } from '../models/auto-model.ts';
import { Autoencoder } from '../models/autoencoders/autoencoder.ts';
import { GraphModel } from '../models/graph-model.ts';
import type { TransformerModel } from '../models/transformer-model.ts';
import { createScheduler } from '../schedulers/create-scheduler.ts';
import type { Scheduler } from '../schedulers/scheduler.ts';
import { loadTokenizer, type Tokenizer } from '../tokenizers/tokenizer.ts';
import { type ModelFolder, readConfig, requireComponent } from '../weights/model-folder.ts';
import type { PipelineLoadOptions } from './pipeline.ts';

export class ComponentLoader {
  constructor(
    readonly folder: ModelFolder,
    private readonly options: PipelineLoadOptions,
  ) {}

  /** Whether the checkpoint has this component. */
  has(name: string): boolean {
    return Boolean(this.folder.components.get(name));
  }

  transformer(name = 'transformer'): Promise<TransformerModel> {
    return AutoModel.fromPretrained(requireComponent(this.folder, name).folder, this.options);
  }

  autoencoder(name = 'vae'): Promise<Autoencoder> {
    return Autoencoder.fromPretrained(requireComponent(this.folder, name).folder, this.options);
  }

  async textEncoder(name: string): Promise<GraphModel> {
    const component = requireComponent(this.folder, name);
    const model = await loadModel(component.folder, this.options);
    if (model instanceof GraphModel) return model;
    await model.dispose();
    throw new DejaDitError('INVALID_CONFIG', `component '${name}' is a ${model.className}, not a text encoder`, {
      path: component.folder,
    });
  }

  tokenizer(name: string): Promise<Tokenizer> {
    return loadTokenizer(requireComponent(this.folder, name).folder);
  }

  async scheduler(name = 'scheduler'): Promise<Scheduler> {
    const component = requireComponent(this.folder, name);
    const { config } = await readConfig(component.folder, 'scheduler_config.json');
    return createScheduler(component.className, config);
  }
}
