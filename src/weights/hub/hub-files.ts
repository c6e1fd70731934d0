/**
 * Which files of a repository a pipeline needs, as pure functions over its listing: configs, tokenizers and one set of
 * safetensors per component. Repositories often hold the same weights several times over.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { chooseWeightFiles, foreignWeightsAmong, weightBaseNames } from '../weight-files.ts';

export interface SelectOptions {
  /** For messages. */
  repository: string;
  /** Component folders of a pipeline. Without them the repository is a single model, whose files lie at its root. */
  components?: readonly string[] | undefined;
  /** Components of which only the settings are needed. */
  withoutWeights?: readonly string[] | undefined;
  /** As in `fp16`. A component that has no such weights brings its plain ones, and a warning says so. */
  variant?: string | undefined;
  onWarning?: ((message: string) => void) | undefined;
}

/**
 * The paths to download out of all paths of a repository.
 * @throws DejaDitError `NOT_FOUND` if a variant is asked for that no component has
 */
export function selectRepositoryFiles(paths: readonly string[], options: SelectOptions): string[] {
  const { components = [''], withoutWeights = [], variant } = options;
  const listing = new Map<string, string[]>();
  for (const path of paths) {
    const slash = path.lastIndexOf('/');
    const folder = path.slice(0, Math.max(slash, 0));
    listing.set(folder, [...(listing.get(folder) ?? []), path.slice(slash + 1)]);
  }
  const selected = new Set((listing.get('') ?? []).filter(isSetting));
  let withWeights = 0;
  let withVariant = 0;
  for (const folder of components) {
    const names = listing.get(folder) ?? [];
    const weights = withoutWeights.includes(folder)
      ? { names: [], isVariant: false }
      : selectWeights(folder, names, options);
    if (weights.names.length > 0) withWeights++;
    if (weights.isVariant) withVariant++;
    for (const name of [...names.filter(isSetting), ...weights.names])
      selected.add(folder ? `${folder}/${name}` : name);
  }
  if (variant !== undefined && withWeights > 0 && withVariant === 0) {
    throw new DejaDitError(
      'NOT_FOUND',
      `no weights of variant ${quote(variant)}; leave variant out for the plain ones`,
      {
        path: options.repository,
      },
    );
  }
  return paths.filter((path) => selected.has(path));
}

/** Configs, chat templates, and the vocabularies of tokenizers: all but the indices of weights, which come with them. */
function isSetting(name: string): boolean {
  return /\.(json|txt|model|jinja)$/.test(name) && !/\.index\.([^.]+\.)?json$/.test(name);
}

function selectWeights(folder: string, names: readonly string[], { repository, variant, onWarning }: SelectOptions) {
  const place = folder ? `${repository}/${folder}` : repository;
  const choose = (wanted: string | undefined) =>
    weightBaseNames.map((baseName) => chooseWeightFiles(names, { baseName, variant: wanted })).find((files) => files);
  const asked = choose(variant);
  const chosen = asked ?? choose(undefined);
  if (!chosen) {
    const foreign = foreignWeightsAmong(names);
    if (foreign.length > 0)
      onWarning?.(`${place}: has weights only as ${foreign.join(', ')}, which are not downloaded`);
    return { names: [], isVariant: false };
  }
  if (!asked) onWarning?.(`${place}: has no weights of variant '${variant}', taking the plain ones`);
  const { single, index, shards } = chosen;
  return { names: single === undefined ? [index!, ...shards] : [single], isVariant: asked !== undefined };
}

/** The paths that match one of the patterns, in which `*` stands for any text and `?` for any character. */
export function matchPatterns(paths: readonly string[], patterns: readonly string[]): string[] {
  const expressions = patterns.map((pattern) => {
    const escaped = pattern
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.');
    return new RegExp(`^${escaped}$`, 's');
  });
  return paths.filter((path) => expressions.some((expression) => expression.test(path)));
}

/** Whether a path stays inside the folder it is put in, under the rules of any system. */
export function isInsidePath(path: string): boolean {
  return !/[\\:\0]/.test(path) && path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}
