/** `DiffusionPipeline.fromPretrained`: any supported pipeline from a folder or a repository id. */
import path from 'node:path';
import { DejaDitError, nearestName } from '../errors/errors.ts';
import { defaultPrograms } from '../models/auto-model.ts';
import { type CreateBackendOptions, createBackend } from '../runtime/create-backend.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { type ResolveOptions, resolveModel } from '../weights/hub.ts';
import { readJsonFile } from '../weights/json.ts';
import { openModelFolder } from '../weights/model-folder.ts';
import { ditPipelineClass } from './dit/dit-pipeline.ts';
import { fluxPipelineClass } from './flux/flux-pipeline.ts';
import type { GenerationDefaults, Pipeline, PipelineClass, PipelineLoadOptions } from './pipeline.ts';
import { pixartPipelineClass } from './pixart/pixart-pipeline.ts';
import { qwenImagePipelineClass } from './qwenimage/qwenimage-pipeline.ts';
import { sd3PipelineClass } from './sd3/sd3-pipeline.ts';
import { wanPipelineClass } from './wan/wan-pipeline.ts';
import { zImagePipelineClass } from './zimage/zimage-pipeline.ts';

const pipelineClasses: readonly PipelineClass[] = [
  ditPipelineClass,
  fluxPipelineClass,
  pixartPipelineClass,
  qwenImagePipelineClass,
  sd3PipelineClass,
  wanPipelineClass,
  zImagePipelineClass,
];

function findClass(className: string): PipelineClass | undefined {
  return pipelineClasses.find(({ classNames }) => classNames.includes(className));
}

export function supportedPipelines(): string[] {
  return pipelineClasses.flatMap(({ classNames }) => classNames);
}

export interface FromPretrainedOptions
  extends Partial<Omit<PipelineLoadOptions, 'programs'>>,
    CreateBackendOptions,
    ResolveOptions {
  /** Programs, and with them the backend, shared with other pipelines; excludes the backend options. */
  programs?: ProgramCache;
}

export const DiffusionPipeline = {
  /**
   * Loads a pipeline from a folder in Diffusers layout, from the Hugging Face cache, or from the hub.
   * @param source a folder, or a repository id such as `black-forest-labs/FLUX.1-schnell`
   * @throws DejaDitError naming the file, field or tensor that is wrong, or the class that is not supported
   */
  async fromPretrained(source: string, options: FromPretrainedOptions = {}): Promise<Pipeline> {
    const root = await resolveModel(source, {
      ...options,
      // Before gigabytes arrive.
      checkClass: (className) => {
        if (!findClass(className)) throw unsupportedPipeline(className, source);
      },
    });
    const folder = await openModelFolder(root);
    const found = findClass(folder.className);
    if (!found) throw unsupportedPipeline(folder.className, root);
    const { programs = await programsFor(options), variant, weightDtype, signal } = options;
    const { layerwiseOffload, layerwiseTextOffload } = options;
    const offload = { layerwiseOffload, layerwiseTextOffload };
    return found.load(folder, await readDefaults(root), { programs, variant, weightDtype, signal, ...offload });
  },
};

async function programsFor({ backend, worker, threads, spinning }: CreateBackendOptions): Promise<ProgramCache> {
  const asked = [backend, worker, threads, spinning].some((option) => option !== undefined);
  return asked ? new ProgramCache(await createBackend({ backend, worker, threads, spinning })) : defaultPrograms();
}

/** `generation_config.json` beside `model_index.json`: a checkpoint's own defaults, in Python's spelling. */
async function readDefaults(root: string): Promise<GenerationDefaults> {
  const file = path.join(root, 'generation_config.json');
  const json = await readJsonFile(file).catch((error) => {
    if (error instanceof DejaDitError && error.code === 'NOT_FOUND') return {};
    throw error;
  });
  const camel = (name: string) => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
  return Object.fromEntries(Object.entries(json).map(([name, value]) => [camel(name), value]));
}

function unsupportedPipeline(className: string, origin: string): DejaDitError {
  const known = supportedPipelines();
  if (/^StableDiffusion(XL)?(Img2Img|Inpaint)?Pipeline$/.test(className)) {
    return new DejaDitError(
      'UNSUPPORTED',
      `'${className}' is built around a convolutional UNet, not a Diffusion Transformer; supported: ${known.join(', ')}`,
      { path: origin },
    );
  }
  const nearest = nearestName(className, known);
  return new DejaDitError(
    'UNSUPPORTED',
    `pipeline class '${className}' is not supported; ${nearest ? `did you mean ${nearest}?` : `supported: ${known.join(', ')}`}`,
    { path: origin },
  );
}
