/** A pipeline from a folder in Diffusers layout, wherever that is; finding or fetching it is up to the callers. */
import type { ArgumentShape } from '../errors/arguments.ts';
import { DejaDitError, suggest } from '../errors/errors.ts';
import { readJsonFile } from '../files/json.ts';
import { joinPath } from '../files/paths.ts';
import { loadShape } from '../models/load/load-options.ts';
import { type ProgramOptions, programsFor } from '../models/load/programs.ts';
import { isTransformer } from '../models/registry.ts';
import { type FetchComponent, type ModelFolder, openModelFolder, readConfig } from '../weights/model-folder.ts';
import { requireRunnable } from '../weights/single-file/known-files.ts';
import { readTensorInfos } from '../weights/single-file/open-single-file.ts';
import type { GenerationDefaults, Pipeline, PipelineLoadOptions } from './pipeline.ts';
import { controlledClass, findPipeline, supportedPipelines } from './registry.ts';

export interface LoadPipelineOptions
  extends Partial<Omit<PipelineLoadOptions, 'programs' | 'sources'>>,
    ProgramOptions {}

export const loadPipelineShape: ArgumentShape<LoadPipelineOptions> = {
  ...loadShape,
  layerwiseTextOffload: loadShape.layerwiseOffload,
};

interface FromElsewhere extends Pick<PipelineLoadOptions, 'sources'> {
  /** Brings components of other repositories. Default: they are missing. */
  fetchComponent?: FetchComponent;
}

/** @throws DejaDitError naming the file, field or tensor that is wrong, or the class that is not supported */
export async function loadPipeline(
  root: string,
  { sources, fetchComponent, ...options }: LoadPipelineOptions & FromElsewhere,
): Promise<Pipeline> {
  const opened = await openModelFolder(root, fetchComponent);
  requireSupported(opened, root);
  const folder = { ...opened, className: await classWithSources(opened.className, sources) };
  const { variant, weightDtype, computeDtype, signal, layerwiseOffload, layerwiseTextOffload, deferWeights } = options;
  const offload = { layerwiseOffload, layerwiseTextOffload };
  const found = (await findPipeline(folder.className))!;
  const defaults = await readDefaults(root);
  const { programs, own } = await programsFor(options);
  try {
    const pipe = await found.load(folder, defaults, {
      programs,
      variant,
      weightDtype,
      computeDtype,
      signal,
      sources,
      deferWeights,
      ...offload,
    });
    if (own) pipe.own(programs.backend);
    return pipe;
  } catch (error) {
    if (own) await programs.backend.dispose();
    throw error;
  }
}

/** @param origin where the pipeline is from @throws DejaDitError `UNSUPPORTED` saying why, and what can be done instead */
export function requireSupported(index: Pick<ModelFolder, 'className' | 'components'>, origin: string): void {
  if (!supportedPipelines().includes(index.className)) throw unsupportedPipeline(index, origin);
}

/** Given a ControlNet, a pipeline becomes the one of its family that has one. */
async function classWithSources(className: string, sources: PipelineLoadOptions['sources']): Promise<string> {
  const [net] = [sources?.['controlnet'] ?? []].flat();
  if (!net) return className;
  if (net.kind === 'folder') return controlledClass(className, (await readConfig(net.path)).config);
  requireRunnable((await readTensorInfos(net.path)).keys(), net.path);
  throw new DejaDitError(
    'UNSUPPORTED',
    'is a file; a ControlNet is loaded from a folder or repository with its config.json',
    { path: net.path },
  );
}

/** `generation_config.json` beside `model_index.json`: a checkpoint's own defaults. */
function readDefaults(root: string): Promise<GenerationDefaults> {
  return readJsonFile(joinPath(root, 'generation_config.json')).catch((error) => {
    if (error instanceof DejaDitError && error.code === 'NOT_FOUND') return {};
    throw error;
  });
}

/** What pipelines do that none here does, by their names. */
const notDone: readonly { classes: RegExp; because: string }[] = [
  {
    classes: /Layered/,
    because: 'pictures are not drawn in layers; QwenImagePipeline draws whole ones, QwenImageEditPipeline changes them',
  },
  { classes: /Regional/, because: 'prompts are for whole pictures, not for regions; load it as the plain pipeline' },
  {
    classes: /ControlNet(XS|Union)?(Img2Img|ImageToImage|Inpaint)/,
    because:
      'ControlNets guide what is drawn from text, and inpaint with Stable Diffusion 3 and Qwen-Image; give a ControlNet to the plain pipeline, as controlnet',
  },
  {
    classes: /Redux|IPAdapter/,
    because: 'pictures are no prompts here; FluxKontextPipeline draws from a picture, a ControlNet along one',
  },
];

function unsupportedPipeline(
  { className, components }: Pick<ModelFolder, 'className' | 'components'>,
  origin: string,
): DejaDitError {
  const refuse = (message: string) => new DejaDitError('UNSUPPORTED', message, { path: origin });
  const different = notDone.find(({ classes }) => classes.test(className));
  if (different) return refuse(`pipeline class '${className}' is not supported: ${different.because}`);
  const known = supportedPipelines();
  const runnable = [...components.values()].find((component) => component && isTransformer(component.className));
  const alone = runnable
    ? `its ${runnable.className} is supported and loads alone, with AutoModel.fromPretrained of the folder '${runnable.name}'; `
    : '';
  return refuse(`pipeline class '${className}' is not supported; ${alone}${suggest(className, known)}`);
}
