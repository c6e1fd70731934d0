/** `fromPretrained` and `loadLora` for pages: from addresses, repositories, folders and files. */
import { type ArgumentShape, readArguments } from '../errors/arguments.ts';
import { mount } from '../files/files.ts';
import { loadModel as loadFolder } from '../models/auto-model.ts';
import type { LoadedModel } from '../models/load/assemble-model.ts';
import { elsewhere, type LoadOptions, loadShape } from '../models/load/load-options.ts';
import {
  type LoadPipelineOptions,
  loadPipeline,
  loadPipelineShape,
  requireSupported,
} from '../pipelines/load-pipeline.ts';
import { type LoraOptions, type LoraTarget, loadLora as loadLoraFile } from '../pipelines/lora/lora.ts';
import type { Pipeline } from '../pipelines/pipeline.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { blobFiles } from './sources/blob-files.ts';
import { type ModelSource, mountModel, type SourceOptions, sourceShape } from './sources/model-source.ts';

export interface FromPretrainedOptions extends LoadPipelineOptions, SourceOptions {}

const fromPretrainedShape: ArgumentShape<FromPretrainedOptions> = { ...sourceShape, ...loadPipelineShape };

export const DiffusionPipeline = {
  /**
   * Loads a pipeline. What is fetched is kept by the browser, so that the next visit downloads nothing of it.
   * @throws DejaDitError naming the address, file, field or tensor that is wrong, or the class that is not supported
   * @example
   * const pipe = await DiffusionPipeline.fromPretrained('./models/emoji-flux', { worker: true });
   * const { images } = await pipe.generate({ prompt: 'red apple', seed: 7 });
   */
  async fromPretrained(source: ModelSource, args: FromPretrainedOptions = {}): Promise<Pipeline> {
    const options = readArguments(fromPretrainedShape, args, { of: 'fromPretrained', elsewhere });
    const checkClass = (index: Parameters<typeof requireSupported>[0]) => requireSupported(index, String(source));
    using model = await mountModel(source, { ...options, checkClass });
    return await loadPipeline(model.path, options);
  },
};

export interface LoadModelOptions extends LoadOptions, SourceOptions {}

const loadModelShape: ArgumentShape<LoadModelOptions> = { ...sourceShape, ...loadShape };

/** Loads one model of any supported class, from the address, folder or files of its `config.json`. */
export async function loadModel(source: ModelSource, args: LoadModelOptions = {}): Promise<LoadedModel> {
  const options = readArguments(loadModelShape, args, { of: 'loadModel', elsewhere });
  using model = await mountModel(source, options);
  const own = Object.entries(options).filter(([name]) => name in loadShape);
  return await loadFolder(model.path, Object.fromEntries(own));
}

/**
 * Loads a LoRA beside a model's weights.
 * @param source a file that was chosen or fetched, or tensors
 * @example
 * await loadLora(pipe, input.files[0]!, { strength: 0.8 });
 */
export async function loadLora(
  target: LoraTarget,
  source: Blob | Readonly<Record<string, Tensor>>,
  options: LoraOptions = {},
): Promise<void> {
  if (!(source instanceof Blob)) return loadLoraFile(target, source, options);
  const name = source instanceof File ? source.name : 'lora.safetensors';
  const root = `file#${crypto.randomUUID()}`;
  using _ = mount(root, blobFiles(new Map([[name, { size: source.size, blob: async () => source }]])));
  await loadLoraFile(target, `${root}/${name}`, options);
}
