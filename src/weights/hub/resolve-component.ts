/** Where one model comes from that is named by itself: a file or a folder, or what a repository has of it. */

import { isFolder, statPath } from '../../files/files.ts';
import { joinPath } from '../../files/paths.ts';
import type { ComponentOrigin, ComponentSource } from '../model-folder.ts';
import { type ResolveOptions, resolveModel } from './hub.ts';

/**
 * @param source a file; a folder or repository of the model or of a pipeline that has it; `organisation/name/path/model.gguf`
 * @param component its name in a pipeline: `text_encoder_2`
 * @throws DejaDitError as `resolveModel`
 */
export async function resolveComponent(
  source: string,
  component: string,
  options: ResolveOptions = {},
): Promise<ComponentSource> {
  const found = await statPath(source);
  if (found && found.kind !== 'folder') return { kind: 'file', path: source };
  const [, repository, file] = /^([\w.-]+\/[\w.-]+)\/(.+\.(?:gguf|safetensors))$/.exec(source) ?? [];
  if (!found && repository !== undefined) {
    const folder = await resolveModel(repository, { ...options, allowPatterns: [file!] });
    return { kind: 'file', path: joinPath(folder, file!) };
  }
  const root = await resolveModel(source, { ...options, components: [component] });
  const inPipeline = joinPath(root, component);
  return { kind: 'folder', path: (await isFolder(inPipeline)) ? inPipeline : root };
}

/**
 * A component that a modular pipeline has from another repository.
 * @returns its folder
 */
export async function resolveOrigin(
  { repository, subfolder, revision }: ComponentOrigin,
  options: ResolveOptions,
): Promise<string> {
  const root = await resolveModel(repository, {
    ...options,
    revision,
    checkClass: undefined,
    ...(subfolder === '' ? {} : { components: [subfolder] }),
  });
  return subfolder === '' ? root : joinPath(root, subfolder);
}
