/** From whatever a page has of a model (an address, a name, a folder, files) to files that are mounted, and so can be read as a folder. */
import * as z from 'zod';
import { type ArgumentShape, abortSignal, anyFunction } from '../../errors/arguments.ts';
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { warn } from '../../errors/warnings.ts';
import { type Files, mount } from '../../files/files.ts';
import { parseJson } from '../../files/json.ts';
import { describeForeign } from '../../weights/foreign-files.ts';
import { selectRepositoryFiles } from '../../weights/hub/hub-files.ts';
import { indexAmong, type ModelFolder, parseModelIndex } from '../../weights/model-folder.ts';
import { type BlobEntry, blobFiles } from './blob-files.ts';
import { download, type OnProgress, storedFile } from './download.ts';
import { filesOfFolder, filesOfList } from './local-files.ts';
import { rangeFiles } from './range-files.ts';
import { openRepository, openUrl, type RemoteModel, type RemoteOptions } from './remote.ts';
import { ModelStore, openStore } from './store.ts';

/**
 * A `URL`, or a text that begins as one (`https://…`, `/…`, `./…`): a folder with a `manifest.json`. Any other text: a repository of the
 * hub. A folder that the page was given, or the files of one.
 */
export type ModelSource = string | URL | FileSystemDirectoryHandle | Iterable<File>;

export interface SourceOptions extends RemoteOptions {
  /** `fp16` and the like: which weights to fetch. */
  variant?: string | undefined;
  /** Whether the browser keeps what is fetched, for the next visit. Default true, where it can. */
  store?: boolean | undefined;
  /** Ask the server whether a kept model is still the newest. Default false: it is used as it is, without any request. */
  update?: boolean | undefined;
  onProgress?: OnProgress | undefined;
}

export const sourceShape: ArgumentShape<SourceOptions> = {
  revision: z.string(),
  variant: z.string(),
  hubUrl: z.string(),
  token: z.string(),
  fetch: anyFunction,
  retries: z.int().min(0),
  store: z.boolean(),
  update: z.boolean(),
  onProgress: anyFunction,
  signal: abortSignal,
};

/** Files that can be read below `path` until it is disposed. */
export interface MountedModel extends Disposable {
  readonly path: string;
}

export interface MountOptions extends SourceOptions {
  /** Called with what a pipeline's index says before its weights are fetched; throws to refuse it. */
  checkClass?: ((index: Pick<ModelFolder, 'className' | 'components'>) => void) | undefined;
}

let mounts = 0;

/** @throws DejaDitError `NOT_FOUND`, `NETWORK` (what has arrived is kept), `ABORTED`, or `RUNTIME` if the storage is full */
export async function mountModel(source: ModelSource, options: MountOptions): Promise<MountedModel> {
  const { name, files } = await filesOf(source, options);
  // The same model may be mounted twice at a time.
  const path = `${name}#${++mounts}`;
  return { path, [Symbol.dispose]: mount(path, files)[Symbol.dispose] };
}

async function filesOf(source: ModelSource, options: MountOptions): Promise<{ name: string; files: Files }> {
  if (typeof source === 'string' || source instanceof URL) return remoteFiles(source, options);
  if (typeof FileSystemDirectoryHandle !== 'undefined' && source instanceof FileSystemDirectoryHandle)
    return { name: source.name, files: blobFiles(await filesOfFolder(source)) };
  if (typeof source === 'object' && source !== null && Symbol.iterator in source)
    return { name: 'files', files: blobFiles(filesOfList(source)) };
  const expected = 'expected an address, a repository id, a FileSystemDirectoryHandle or a list of files';
  throw new DejaDitError('INVALID_ARGUMENT', `${expected}, got ${quote(source)}`, { path: 'source' });
}

async function remoteFiles(source: string | URL, options: MountOptions): Promise<{ name: string; files: Files }> {
  const address = addressOf(source);
  if (address?.protocol === 'file:') {
    const remedy =
      'a page may not read the disk by address: let the folder be chosen or dropped, or serve it over HTTP';
    throw new DejaDitError('UNSUPPORTED', remedy, { path: address.href });
  }
  const name = address ? address.href.replace(/[?#].*$/, '').replace(/\/+$/, '') : `${source}`;
  const open = () => (address ? openUrl(address, options) : openRepository(name, options));
  const root = options.store === false ? undefined : await openStore();
  if (!root) {
    if (options.store !== false)
      warn(`${name}: this browser keeps no files for this page, so every visit downloads them`);
    const model = await open();
    await selectFiles(model, options);
    return { name, files: rangeFiles(model, options.onProgress) };
  }
  const store = await ModelStore.open(root, [name, options.revision, options.variant].filter(Boolean).join('@'));
  const kept = await store.record();
  let entries: readonly (readonly [string, { size: number }])[];
  if (kept?.complete && !options.update) {
    entries = Object.entries(kept.files);
    const total = entries.reduce((sum, [, { size }]) => sum + size, 0);
    options.onProgress?.({ file: '', received: 0, total: 0, overall: { received: total, total } });
  } else {
    const model = await open();
    if (kept && kept.version !== model.version) await store.clear();
    const paths = await selectFiles(model, options);
    entries = paths.map((path) => [path, { size: model.files.get(path)!.size }] as const);
    const record = { name, version: model.version, files: Object.fromEntries(entries) };
    await store.setRecord({ ...record, complete: false });
    await download(model, { paths, store, onProgress: options.onProgress, signal: options.signal });
    await store.setRecord({ ...record, complete: true });
  }
  const blobs = entries.map(([path, { size }]): [string, BlobEntry] => [path, storedFile(path, size, store)]);
  return { name, files: blobFiles(new Map(blobs)) };
}

/** The address that a text is; undefined for the name of a repository. */
function addressOf(source: string | URL): URL | undefined {
  if (source instanceof URL) return source;
  if (/^([a-z][a-z0-9+.-]*:|\.{0,2}\/)/i.test(source)) return new URL(source, globalThis.location?.href);
  if (/^\w[\w.-]*\/\w[\w.-]*$/.test(source)) return undefined;
  const message = 'is neither an address (https://…, ./…) nor the name of a repository (organisation/name)';
  throw new DejaDitError('INVALID_ARGUMENT', message, { path: source });
}

/** What is needed of a model: of a pipeline, what its index names. */
async function selectFiles(model: RemoteModel, { checkClass, variant }: MountOptions): Promise<string[]> {
  const paths = [...model.files.keys()];
  const foreign = describeForeign(paths);
  if (foreign !== undefined) throw new DejaDitError('UNSUPPORTED', foreign, { path: model.name });
  const indexName = indexAmong(paths);
  let components: string[] | undefined;
  if (indexName !== undefined) {
    const file = `${model.name}/${indexName}`;
    const { size } = model.files.get(indexName)!;
    const text = new TextDecoder().decode(await model.fetchRange(indexName, { from: 0, to: size }));
    const found = parseModelIndex(parseJson(text, { path: file }), { file, folder: model.name });
    checkClass?.(found);
    components = [...found.components].filter(([, component]) => component !== null).map(([name]) => name);
  }
  return selectRepositoryFiles(paths, { repository: model.name, components, variant, onWarning: warn });
}
