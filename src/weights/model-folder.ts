/**
 * The folder of a Diffusers pipeline: `model_index.json` names the pipeline's class and its components, each of which
 * has a folder of its own. Which classes can be run is not known here.
 *
 * Modular pipelines have `modular_model_index.json` instead, which also says of every component in which repository it is; what the
 * pipeline's blocks make by themselves is not in it.
 */
import { DejaDitError, nearestName } from '../errors/errors.ts';
import { quote } from '../errors/printable.ts';
import { isFolder, listFolder, statPath } from '../files/files.ts';
import { readJsonFile } from '../files/json.ts';
import { joinPath } from '../files/paths.ts';
import { describeForeign } from './foreign-files.ts';

export const modelIndexName = 'model_index.json';
const modularIndexName = 'modular_model_index.json';

/** The index among names of files: the ordinary one, or else that of a modular pipeline; undefined where there is none. */
export function indexAmong(names: Iterable<string>): string | undefined {
  const known = new Set(names);
  return [modelIndexName, modularIndexName].find((name) => known.has(name));
}

export interface Component {
  name: string;
  /** The Python library the class belongs to: `diffusers`, `transformers`. */
  library: string;
  className: string;
  folder: string;
  /** Where it is if that folder is not there, of modular pipelines. */
  origin?: ComponentOrigin | undefined;
}

/** A folder of another repository. */
export interface ComponentOrigin {
  repository: string;
  subfolder: string;
  revision: string | undefined;
}

/** Where a component comes from that is not in the pipeline's folder. */
export interface ComponentSource {
  kind: 'file' | 'folder';
  path: string;
}

export interface ModelFolder {
  path: string;
  /** The file that says all this. */
  indexFile: string;
  /** The pipeline's class, `FluxPipeline`. */
  className: string;
  /** Components by name; null for those that the pipeline can have and this one does without. */
  components: ReadonlyMap<string, Component | null>;
  /** Everything else in the file: settings of the pipeline such as `boundary_ratio`. */
  options: Readonly<Record<string, unknown>>;
}

/** Brings a component that is in another repository. @returns its folder */
export type FetchComponent = (component: Component, origin: ComponentOrigin) => Promise<string>;

/**
 * Reads a pipeline's folder and checks that the folder of every component is there.
 * @param fetch what is not there, but in another repository. Default: it is missing
 * @throws DejaDitError `NOT_FOUND` without `model_index.json` or a component's folder, `INVALID_FILE` if the index is wrong
 */
export async function openModelFolder(path: string, fetch?: FetchComponent): Promise<ModelFolder> {
  const isModular =
    (await statPath(joinPath(path, modelIndexName))) === undefined &&
    (await statPath(joinPath(path, modularIndexName))) !== undefined;
  const file = joinPath(path, isModular ? modularIndexName : modelIndexName);
  const index = await readJsonFile(file).catch(async (error: DejaDitError) => {
    if (error.code !== 'NOT_FOUND') throw error;
    if (!(await isFolder(path))) throw new DejaDitError('NOT_FOUND', 'no such folder', { path, cause: error });
    const foreign = describeForeign(await listFolder(path));
    if (foreign !== undefined) throw new DejaDitError('UNSUPPORTED', foreign, { path });
    const isModel = (await statPath(joinPath(path, 'config.json'))) !== undefined;
    const hint = isModel ? 'it holds a single model, which AutoModel.fromPretrained loads' : 'not a Diffusers pipeline';
    throw new DejaDitError('NOT_FOUND', `has no ${modelIndexName}: ${hint}`, { path, cause: error });
  });
  const { components: named, ...parsed } = parseModelIndex(index, { file, folder: path });
  const components = new Map<string, Component | null>();
  for (const [name, component] of named) {
    const isThere = component === null || (await isFolder(component.folder));
    if (isThere) components.set(name, component);
    else if (component.origin && fetch)
      components.set(name, { ...component, folder: await fetch(component, component.origin) });
    else {
      const elsewhere = component.origin ? ` (it is in ${component.origin.repository})` : '';
      const message = `names the component '${name}', but ${component.folder} is not there${elsewhere}`;
      throw new DejaDitError('NOT_FOUND', message, { path: file });
    }
  }
  return { ...parsed, path, components };
}

/**
 * Checks the contents of a `model_index.json` or `modular_model_index.json`.
 * @throws DejaDitError `INVALID_FILE` naming the entry
 */
export function parseModelIndex(
  index: Readonly<Record<string, unknown>>,
  { file, folder }: { file: string; folder: string },
): Omit<ModelFolder, 'path'> {
  const bad = (message: string) => new DejaDitError('INVALID_FILE', message, { path: file });
  const className = index['_class_name'];
  if (Array.isArray(className)) throw bad(`_class_name ${quote(className)} asks for Python code from the repository`);
  if (typeof className !== 'string') throw bad(`_class_name must be a pipeline's class, not ${quote(className)}`);

  const components = new Map<string, Component | null>();
  const options: [string, unknown][] = [];
  for (const [name, value] of Object.entries(index)) {
    if (name.startsWith('_')) continue;
    if (!isComponentEntry(value)) {
      options.push([name, value]);
      continue;
    }
    // The name becomes part of a path.
    if (!/^[A-Za-z]\w*$/.test(name)) throw bad(`${quote(name)} cannot be the name of a component`);
    const [library, componentClass, place] = value;
    if (library === null || componentClass === null) {
      components.set(name, null);
    } else {
      const origin = place && originOf(place, { name, bad });
      const inFolder = joinPath(folder, origin?.subfolder || name);
      components.set(name, { name, library, className: componentClass, folder: inFolder, origin });
    }
  }
  return { indexFile: file, className, components, options: Object.fromEntries(options) };
}

type Place = Readonly<Record<string, unknown>>;

/** Library and class, and in modular pipelines the place. */
function isComponentEntry(value: unknown): value is [string | null, string | null, Place?] {
  if (!Array.isArray(value) || value.length < 2 || value.length > 3) return false;
  const [library, className, place = {}] = value as unknown[];
  const isName = (item: unknown) => item === null || typeof item === 'string';
  return isName(library) && isName(className) && typeof place === 'object' && place !== null && !Array.isArray(place);
}

function originOf(
  place: Place,
  { name, bad }: { name: string; bad: (message: string) => DejaDitError },
): ComponentOrigin | undefined {
  const text = (key: string) => {
    const value = place[key] ?? undefined;
    if (value === undefined || typeof value === 'string') return value;
    throw bad(`${name}.${key} is ${quote(value)}, expected a string`);
  };
  const repository = text('pretrained_model_name_or_path');
  const subfolder = text('subfolder') ?? '';
  if (!/^([\w-][\w.-]*(\/[\w-][\w.-]*)*)?$/.test(subfolder))
    throw bad(`${name}.subfolder ${quote(subfolder)} is no folder`);
  return repository === undefined ? undefined : { repository, subfolder, revision: text('revision') };
}

/**
 * The component of that name.
 * @throws DejaDitError `NOT_FOUND` if the pipeline's index does not list it or leaves it out
 */
export function requireComponent({ indexFile: file, components, className }: ModelFolder, name: string): Component {
  const component = components.get(name);
  if (component) return component;
  if (component === null) throw new DejaDitError('NOT_FOUND', `this ${className} has no '${name}'`, { path: file });
  const nearest = nearestName(name, components.keys());
  const hint = nearest === undefined ? '' : `, nearest is '${nearest}'`;
  throw new DejaDitError('NOT_FOUND', `lists no component '${name}'${hint}`, { path: file });
}

/** What describes one model, without its weights. */
export interface ModelConfig {
  className: string | undefined;
  config: Record<string, unknown>;
  /** The file, for error messages. */
  path: string;
}

/**
 * A component's JSON file (`config.json`, `scheduler_config.json`) and the class it names: `_class_name` as Diffusers
 * writes it, or else the first of Transformers' `architectures`, or else nothing.
 */
export async function readConfig(folder: string, fileName = 'config.json'): Promise<ModelConfig> {
  const path = joinPath(folder, fileName);
  const config = await readJsonFile(path);
  const { _class_name: own, architectures } = config;
  const className = own ?? (Array.isArray(architectures) ? architectures[0] : undefined);
  if (className !== undefined && typeof className !== 'string') {
    throw new DejaDitError('INVALID_FILE', `its class must be a string, not ${quote(className)}`, { path });
  }
  return { className, config, path };
}
