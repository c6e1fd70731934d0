/** `DiffusionPipeline.fromPretrained`: any supported pipeline from a folder or a repository id. */
import { type ArgumentShape, readArguments } from '../errors/arguments.ts';
import { elsewhere } from '../models/load/load-options.ts';
import { type ResolveOptions, resolveModel, resolveShape } from '../weights/hub/hub.ts';
import { type LoadPipelineOptions, loadPipeline, loadPipelineShape, requireSupported } from './load-pipeline.ts';
import type { Pipeline } from './pipeline.ts';

export interface FromPretrainedOptions extends LoadPipelineOptions, ResolveOptions {}

const fromPretrainedShape: ArgumentShape<FromPretrainedOptions> = { ...resolveShape, ...loadPipelineShape };

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
    const root = await resolveModel(source, {
      ...pick(options, resolveShape),
      // Before gigabytes arrive.
      checkClass: (index) => requireSupported(index, source),
    });
    return loadPipeline(root, options);
  },
};

/** The options of one of the functions called. */
function pick<Options extends object>(options: Options, shape: object): Partial<Options> {
  return Object.fromEntries(Object.entries(options).filter(([name]) => name in shape)) as Partial<Options>;
}
