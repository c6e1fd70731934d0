/**
 * The folder of a Diffusers pipeline: `model_index.json` names the pipeline's class and its components, each of which
 * has a folder of its own. Which classes can be run is not known here.
 */
import { DejaDitError, nearestName } from '../errors/errors.ts';
import { quote } from '../errors/printable.ts';
import { isFolder, listFolder, statPath } from '../files/files.ts';
import { readJsonFile } from '../files/json.ts';
import { joinPath } from '../files/paths.ts';
import { describeForeign } from './foreign-files.ts';

export const modelIndexName = 'model_index.json';

export interface Component {
  name: string;
  /** The Python library the class belongs to: `diffusers`, `transformers`. */
  library: string;
  className: string;
  folder: string;
}

/** Where a component comes from that is not in the pipeline's folder. */
export interface ComponentSource {
  kind: 'file' | 'folder';
  path: string;
}

export interface ModelFolder {
  path: string;
  /** The pipeline's class, `FluxPipeline`. */
  className: string;
  /** Components by name; null for those that the pipeline can have and this one does without. */
  components: ReadonlyMap<string, Component | null>;
  /** Everything else in the file: settings of the pipeline such as `boundary_ratio`. */
  options: Readonly<Record<string, unknown>>;
}

/**
 * Reads a pipeline's folder and checks that the folder of every component is there.
 * @throws DejaDitError `NOT_FOUND` without `model_index.json` or a component's folder, `INVALID_FILE` if the index is wrong
 */
export async function openModelFolder(path: string): Promise<ModelFolder> {
  const file = joinPath(path, modelIndexName);
  const index = await readJsonFile(file).catch(async (error: DejaDitError) => {
    if (error.code !== 'NOT_FOUND') throw error;
    if (!(await isFolder(path))) throw new DejaDitError('NOT_FOUND', 'no such folder', { path, cause: error });
    const foreign = describeForeign(await listFolder(path));
    if (foreign !== undefined) throw new DejaDitError('UNSUPPORTED', foreign, { path });
    const isModel = (await statPath(joinPath(path, 'config.json'))) !== undefined;
    const hint = isModel ? 'it holds a single model, which AutoModel.fromPretrained loads' : 'not a Diffusers pipeline';
    throw new DejaDitError('NOT_FOUND', `has no ${modelIndexName}: ${hint}`, { path, cause: error });
  });
  const { className, components, options } = parseModelIndex(index, { file, folder: path });
  for (const component of components.values()) {
    if (component && !(await isFolder(component.folder))) {
      const { name, folder } = component;
      throw new DejaDitError('NOT_FOUND', `names the component '${name}', but ${folder} is not there`, { path: file });
    }
  }
  return { path, className, components, options };
}

/**
 * Checks the contents of a `model_index.json`.
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
    const [library, componentClass] = value;
    if (library === null || componentClass === null) {
      components.set(name, null);
    } else {
      components.set(name, { name, library, className: componentClass, folder: joinPath(folder, name) });
    }
  }
  return { className, components, options: Object.fromEntries(options) };
}

function isComponentEntry(value: unknown): value is [string | null, string | null] {
  return Array.isArray(value) && value.length === 2 && value.every((item) => item === null || typeof item === 'string');
}

/**
 * The component of that name.
 * @throws DejaDitError `NOT_FOUND` if the pipeline's index does not list it or leaves it out
 */
export function requireComponent({ path, components, className }: ModelFolder, name: string): Component {
  const component = components.get(name);
  if (component) return component;
  const file = joinPath(path, modelIndexName);
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
