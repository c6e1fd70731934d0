/** Components of a pipeline that come from elsewhere than its folder: a file, another folder or repository. */
import { z } from 'zod';
import type { ArgumentShape } from '../errors/arguments.ts';
import { DejaDitError } from '../errors/errors.ts';
import type { ResolveOptions } from '../weights/hub/hub.ts';
import { resolveComponent } from '../weights/hub/resolve-component.ts';
import { type ComponentSource, type ModelFolder, readConfig } from '../weights/model-folder.ts';
import { hasModel, isAlone } from '../weights/single-file/model-tensors.ts';
import { readTensorInfos } from '../weights/single-file/open-single-file.ts';
import { componentName } from './components.ts';

/**
 * By component: a file (safetensors under any names, GGUF), a folder or repository of the model or of a pipeline that has it, or
 * `organisation/name/path/model.gguf`.
 */
export interface ComponentSources {
  transformer?: string | undefined;
  /** The second expert of Wan 2.2. */
  transformer2?: string | undefined;
  vae?: string | undefined;
  textEncoder?: string | undefined;
  textEncoder2?: string | undefined;
  textEncoder3?: string | undefined;
  /** Makes a pipeline one with a ControlNet, or with several. */
  controlnet?: string | readonly string[] | undefined;
}

export const sourcesShape: ArgumentShape<ComponentSources> = {
  transformer: z.string(),
  transformer2: z.string(),
  vae: z.string(),
  textEncoder: z.string(),
  textEncoder2: z.string(),
  textEncoder3: z.string(),
  controlnet: z.union(
    [z.string(), z.array(z.string()).min(1, 'is an empty list')],
    'expected a folder or repository, or a list of them',
  ),
};

/** Those that are given, by their names in `model_index.json`, downloaded if need be. */
export async function resolveSources(
  options: ComponentSources,
  hub: ResolveOptions,
): Promise<Record<string, ComponentSource | ComponentSource[]>> {
  const sources: Record<string, ComponentSource | ComponentSource[]> = {};
  for (const key of Object.keys(sourcesShape) as (keyof ComponentSources)[]) {
    const source = options[key];
    const name = componentName(key, {});
    // A revision is one of the pipeline's own repository.
    const resolve = (from: string) => resolveComponent(from, name, { ...hub, revision: undefined });
    if (typeof source === 'string') sources[name] = await resolve(source);
    else if (source !== undefined) sources[name] = await Promise.all(source.map(resolve));
  }
  return sources;
}

/**
 * Which components of a pipeline a file holds, as sources.
 * @throws DejaDitError NOT_FOUND if there is none
 */
export async function componentsIn(file: string, folder: ModelFolder): Promise<ComponentSources> {
  const tensors = await readTensorInfos(file);
  if (isAlone(tensors)) return { transformer: file };
  const sources: { [Key in keyof ComponentSources]: string } = {};
  for (const key of Object.keys(sourcesShape) as (keyof ComponentSources)[]) {
    const component = folder.components.get(componentName(key, {}));
    if (!component) continue;
    const { config } = await readConfig(component.folder);
    if (hasModel(tensors, { component: component.name, model: config, path: file })) sources[key] = file;
  }
  if (Object.keys(sources).length > 0) return sources;
  throw new DejaDitError('NOT_FOUND', `holds no component of a ${folder.className}`, { path: file });
}
