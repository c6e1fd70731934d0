/** `DiffusionPipeline.fromPretrained`: any supported pipeline from a folder or a repository id. */
import { type ArgumentShape, readArguments } from '../errors/arguments.ts';
import { DejaDitError, suggest } from '../errors/errors.ts';
import { readJsonFile } from '../files/json.ts';
import { joinPath } from '../files/paths.ts';
import { elsewhere, loadShape } from '../models/load/load-options.ts';
import { type ProgramOptions, programsFor } from '../models/load/programs.ts';
import { isTransformer } from '../models/registry.ts';
import { type ResolveOptions, resolveModel, resolveShape } from '../weights/hub/hub.ts';
import { type ModelFolder, openModelFolder } from '../weights/model-folder.ts';
import type { GenerationDefaults, Pipeline, PipelineLoadOptions } from './pipeline.ts';
import { findPipeline, supportedPipelines } from './registry.ts';

export interface FromPretrainedOptions
  extends Partial<Omit<PipelineLoadOptions, 'programs'>>,
    ProgramOptions,
    ResolveOptions {}

const fromPretrainedShape: ArgumentShape<FromPretrainedOptions> = {
  ...resolveShape,
  ...loadShape,
  layerwiseTextOffload: loadShape.layerwiseOffload,
};

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
      checkClass: (index) => {
        if (!supportedPipelines().includes(index.className)) throw unsupportedPipeline(index, source);
      },
    });
    const folder = await openModelFolder(root);
    const found = await findPipeline(folder.className);
    if (!found) throw unsupportedPipeline(folder, root);
    const { variant, weightDtype, signal, layerwiseOffload, layerwiseTextOffload } = options;
    const offload = { layerwiseOffload, layerwiseTextOffload };
    const defaults = await readDefaults(root);
    const { programs, own } = await programsFor(options);
    try {
      const pipe = await found.load(folder, defaults, { programs, variant, weightDtype, signal, ...offload });
      if (own) pipe.own(programs.backend);
      return pipe;
    } catch (error) {
      if (own) await programs.backend.dispose();
      throw error;
    }
  },
};

/** `generation_config.json` beside `model_index.json`: a checkpoint's own defaults. */
function readDefaults(root: string): Promise<GenerationDefaults> {
  return readJsonFile(joinPath(root, 'generation_config.json')).catch((error) => {
    if (error instanceof DejaDitError && error.code === 'NOT_FOUND') return {};
    throw error;
  });
}

function unsupportedPipeline(
  { className, components }: Pick<ModelFolder, 'className' | 'components'>,
  origin: string,
): DejaDitError {
  const refuse = (message: string) => new DejaDitError('UNSUPPORTED', message, { path: origin });
  const known = supportedPipelines();
  if (/^StableDiffusion(XL)?(Img2Img|Inpaint)?Pipeline$/.test(className))
    return refuse(
      `'${className}' is built around a convolutional UNet, not a Diffusion Transformer; supported: ${known.join(', ')}`,
    );
  const runnable = [...components.values()].find((component) => component && isTransformer(component.className));
  const alone = runnable
    ? `its ${runnable.className} is supported and loads alone, with AutoModel.fromPretrained of the folder '${runnable.name}'; `
    : '';
  return refuse(`pipeline class '${className}' is not supported; ${alone}${suggest(className, known)}`);
}

/** The options of one of the functions called. */
function pick<Options extends object>(options: Options, shape: object): Partial<Options> {
  return Object.fromEntries(Object.entries(options).filter(([name]) => name in shape)) as Partial<Options>;
}
