/** `DiffusionPipeline`: any supported pipeline from a folder, a repository or a single file, its components from wherever they are. */
import { z } from 'zod';
import { type ArgumentShape, readArguments } from '../errors/arguments.ts';
import { DejaDitError } from '../errors/errors.ts';
import { elsewhere } from '../models/load/load-options.ts';
import { type ResolveOptions, resolveModel, resolveShape } from '../weights/hub/hub.ts';
import { resolveComponent, resolveOrigin } from '../weights/hub/resolve-component.ts';
import { type FetchComponent, modelIndexName, openModelFolder } from '../weights/model-folder.ts';
import { type ComponentSources, componentsIn, resolveSources, sourcesShape } from './component-sources.ts';
import { type LoadPipelineOptions, loadPipeline, loadPipelineShape, requireSupported } from './load-pipeline.ts';
import type { Pipeline } from './pipeline.ts';
import { controlledClass } from './registry.ts';

export interface FromPretrainedOptions extends LoadPipelineOptions, ComponentSources, ResolveOptions {}

const fromPretrainedShape: ArgumentShape<FromPretrainedOptions> = {
  ...resolveShape,
  ...loadPipelineShape,
  ...sourcesShape,
};

export interface FromSingleFileOptions extends FromPretrainedOptions {
  /** A folder or repository of a pipeline, which brings what the file has not: configs, tokenizers, and other models. */
  config: string;
}

const fromSingleFileShape: ArgumentShape<FromSingleFileOptions> = { ...fromPretrainedShape, config: z.string() };

export const DiffusionPipeline = {
  /**
   * Loads a pipeline from a folder in Diffusers layout, from the Hugging Face cache, or from the hub.
   * @param source a folder, or a repository id such as `black-forest-labs/FLUX.1-schnell`
   * @throws DejaDitError naming the file, field or tensor that is wrong, or the class that is not supported
   * @example
   * const pipe = await DiffusionPipeline.fromPretrained(bundledModel());
   * const { images } = await pipe.generate({ prompt: 'red apple', seed: 7 });
   */
  async fromPretrained(source: string, args: FromPretrainedOptions = {}): Promise<Pipeline> {
    const options = readArguments(fromPretrainedShape, args, { of: 'fromPretrained', elsewhere });
    const hub = pick(options, resolveShape);
    const sources = await resolveSources(options, hub);
    const root = await resolveModel(source, {
      ...hub,
      withoutWeights: Object.keys(sources),
      // Before gigabytes arrive.
      checkClass: (index) => {
        requireSupported(index, source);
        if (options.controlnet !== undefined) controlledClass(index.className);
      },
    });
    const fetchComponent: FetchComponent = (_, origin) => resolveOrigin(origin, hub);
    return loadPipeline(root, { ...options, sources, fetchComponent });
  },

  /**
   * Loads a pipeline whose transformer, and perhaps autoencoder and text encoders, are in one file of another program; whatever the
   * file has not comes from `config`.
   * @param file safetensors or GGUF, or `organisation/name/path/model.gguf` on the hub
   * @throws DejaDitError naming the file, field or tensor that is wrong
   * @example
   * const pipe = await DiffusionPipeline.fromSingleFile('flux1-schnell-Q4_K_S.gguf', { config: 'black-forest-labs/FLUX.1-schnell' });
   */
  async fromSingleFile(file: string, args: FromSingleFileOptions): Promise<Pipeline> {
    const { config, ...options } = readArguments(fromSingleFileShape, args, { of: 'fromSingleFile', elsewhere });
    if (config === undefined)
      throw new DejaDitError(
        'INVALID_ARGUMENT',
        'is missing: a folder or repository in Diffusers layout, for what the file has not',
        { path: 'config' },
      );
    const hub = pick(options, resolveShape);
    const found = await resolveComponent(file, 'transformer', { ...hub, revision: undefined });
    const described = await resolveModel(config, { ...hub, allowPatterns: [modelIndexName, '*config.json'] });
    const inFile = await componentsIn(found.path, await openModelFolder(described));
    return DiffusionPipeline.fromPretrained(config, { ...inFile, ...options });
  },
};

/** The options of one of the functions called. */
function pick<Options extends object>(options: Options, shape: object): Partial<Options> {
  return Object.fromEntries(Object.entries(options).filter(([name]) => name in shape)) as Partial<Options>;
}
