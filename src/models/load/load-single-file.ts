/** Loads one model out of a file of another program. How such files are read is in `weights/single-file/`. */
import * as z from 'zod';
import { type ResolveOptions, resolveModel } from '#weights/hub/hub';
import { type ArgumentShape, anyObject, readArguments } from '../../errors/arguments.ts';
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { isFolder, statPath } from '../../files/files.ts';
import { joinPath } from '../../files/paths.ts';
import { type ModelConfig, readConfig } from '../../weights/model-folder.ts';
import { openSingleFile } from '../../weights/single-file/open-single-file.ts';
import { assembleModel, type LoadedModel } from './assemble-model.ts';
import { inferConfig } from './infer-config.ts';
import { elsewhere, type LoadOptions, loadShape } from './load-options.ts';

export interface SingleFileOptions extends Omit<LoadOptions, 'variant'> {
  /** A folder or repository in Diffusers layout whose `config.json` describes the model. Default: what can be seen from the weights. */
  config?: string | undefined;
  /** The component that is meant where `config` is a whole pipeline, and where a file holds several models. Default `transformer`. */
  component?: string | undefined;
  /** How a repository's config is fetched. */
  hub?: Omit<ResolveOptions, 'allowPatterns' | 'signal'> | undefined;
}

const { variant: _, ...modelShape } = loadShape;

const singleFileShape: ArgumentShape<SingleFileOptions> = {
  ...modelShape,
  config: z.string(),
  component: z.string(),
  hub: anyObject,
};

/**
 * Loads a model of any supported class from a file.
 * @example
 * const vae = await loadSingleFile('ae.safetensors', { config: 'path/to/flux', component: 'vae' });
 */
export async function loadSingleFile(file: string, args: SingleFileOptions = {}): Promise<LoadedModel> {
  const options = readArguments(singleFileShape, args, { of: 'fromSingleFile', elsewhere });
  if (typeof file !== 'string')
    throw new DejaDitError('INVALID_ARGUMENT', `expected the path of a file, got ${quote(file)}`, { path: 'file' });
  const { config, component = 'transformer', hub, ...load } = options;
  const described = await (config === undefined
    ? inferConfig(file, component)
    : findConfig(config, component, { ...hub, signal: load.signal }));
  return assembleModel(described, load, {
    origin: file,
    open: (model) => openSingleFile(file, { component, names: model.originalNames, model: model.config }),
  });
}

/** The description of a component, in the folder or repository of a model or of a whole pipeline. */
async function findConfig(source: string, component: string, hub: ResolveOptions): Promise<ModelConfig> {
  if ((await statPath(source))?.kind === 'file')
    throw new DejaDitError('INVALID_ARGUMENT', 'is a file; config is the folder that its config.json is in', {
      path: source,
    });
  const root = await resolveModel(source, { ...hub, allowPatterns: ['config.json', '*/config.json'] });
  const inPipeline = joinPath(root, component);
  return readConfig((await isFolder(inPipeline)) ? inPipeline : root);
}
