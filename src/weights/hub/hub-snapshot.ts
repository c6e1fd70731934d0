/**
 * Whether a snapshot in the cache has what is asked for, told without a hub. A reference leads to whatever was fetched last: configs alone, one
 * component, or what Python's library brought.
 */
import { readdir } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { readJsonFile } from '../../files/json.ts';
import { indexAmong, parseModelIndex } from '../model-folder.ts';
import { foreignWeightsAmong, variantsAmong, weightBaseNames } from '../weight-files.ts';
import { matchPatterns } from './hub-files.ts';

export interface WantedFiles {
  components?: readonly string[] | undefined;
  withoutWeights?: readonly string[] | undefined;
  allowPatterns?: readonly string[] | undefined;
}

/** What a snapshot lacks of what is asked for, for people; undefined if nothing is seen to be missing. */
export async function missingFrom(
  snapshot: string,
  { components, withoutWeights = [], allowPatterns }: WantedFiles,
): Promise<string | undefined> {
  const entries = await readdir(snapshot, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(snapshot, join(entry.parentPath, entry.name)).replaceAll(sep, '/'));
  if (allowPatterns) return matchPatterns(paths, allowPatterns).length > 0 ? undefined : allowPatterns.join(', ');
  const index = indexAmong(paths);
  if (index === undefined && !paths.includes('config.json')) return 'its model_index.json or config.json';
  const file = index === undefined ? undefined : join(snapshot, index);
  const folders = file ? componentsOf(parseModelIndex(await readJsonFile(file), { file, folder: snapshot })) : [''];
  for (const folder of folders) {
    if (file && components && !components.includes(folder)) continue;
    const inside = folder === '' ? '' : `${folder}/`;
    const names = paths.filter((path) => path.startsWith(inside)).map((path) => path.slice(inside.length));
    if (names.length === 0) return folder;
    const isModel = names.includes('config.json') && !withoutWeights.includes(folder);
    if (isModel && !hasWeights(names)) return folder === '' ? 'its weights' : `the weights of ${folder}`;
  }
  return undefined;
}

/** Components of modular pipelines may be in other repositories. */
function componentsOf({ components }: ReturnType<typeof parseModelIndex>): string[] {
  return [...components].flatMap(([name, component]) => (component && !component.origin ? [name] : []));
}

/** Weights of any kind: whether they are those that are wanted is said when they are opened. */
function hasWeights(names: readonly string[]): boolean {
  return (
    foreignWeightsAmong(names).length > 0 ||
    weightBaseNames.some((baseName) => variantsAmong(names, baseName).length > 0)
  );
}
