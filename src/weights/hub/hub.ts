/**
 * From `path or repository` to a folder with a model in it: a folder that exists, a snapshot in the Hugging Face cache,
 * or a download into that cache. How the cache is laid out, what is fetched and how is in the files `hub-*.ts`.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { type ArgumentShape, abortSignal, anyFunction, anyObject, readArguments } from '../../errors/arguments.ts';
import { DejaDitError, throwIfAborted } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { warn } from '../../errors/warnings.ts';
import { readJsonFile } from '../../files/json.ts';
import { describeFile, describeForeign } from '../foreign-files.ts';
import { indexAmong, type ModelFolder, parseModelIndex } from '../model-folder.ts';
import { type Environment, hubCacheFolder, isCommit, isOn, RepositoryCache } from './hub-cache.ts';
import { type HubAdvice, HubClient, type RemoteFile } from './hub-client.ts';
import { downloadBlob } from './hub-download.ts';
import { isInsidePath, matchPatterns, selectRepositoryFiles } from './hub-files.ts';
import { isIntact } from './hub-hash.ts';
import { missingFrom } from './hub-snapshot.ts';

/** Enough to hide the latency of many small files; more connections do not make a large one faster. */
const parallelDownloads = 4;

export const resolveShape: ArgumentShape<ResolveOptions> = {
  revision: z.string(),
  variant: z.string(),
  components: z.array(z.string()),
  withoutWeights: z.array(z.string()),
  allowPatterns: z.array(z.string()),
  cacheFolder: z.string(),
  hubUrl: z.string(),
  checkClass: anyFunction,
  token: z.string(),
  offline: z.boolean(),
  verify: z.boolean(),
  retries: z.int().min(0),
  timeout: z.number().positive(),
  fetch: anyFunction,
  onProgress: anyFunction,
  onWarning: anyFunction,
  signal: abortSignal,
  env: anyObject,
};

export interface DownloadProgress {
  /** Path in the repository. */
  file: string;
  /** Bytes of the file that are here. */
  received: number;
  total: number;
  /** The same over all files of this download. */
  overall: { received: number; total: number };
}

export interface ResolveOptions {
  /** Branch, tag or commit. Default `main`. */
  revision?: string | undefined;
  /** Weights to fetch, as in `fp16`. A component without them brings its plain ones, and a warning. */
  variant?: string | undefined;
  /** Fetch only these components of a pipeline, `['transformer']`. Default: all. */
  components?: readonly string[] | undefined;
  /** Of these components fetch only the settings: their weights come from elsewhere. Default: none. */
  withoutWeights?: readonly string[] | undefined;
  /** Fetch the files that match instead of those a pipeline needs: `['transformer/*', '*.json']`. */
  allowPatterns?: readonly string[] | undefined;
  /** Default: `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or `~/.cache/huggingface/hub`. */
  cacheFolder?: string | undefined;
  /** Default: `HF_ENDPOINT`, or https://huggingface.co. */
  hubUrl?: string | undefined;
  /** Called with what a pipeline's index says before its weights are fetched; throws to refuse it. */
  checkClass?: ((index: Pick<ModelFolder, 'className' | 'components'>) => void) | undefined;
  /** Access token. Default: `HF_TOKEN`. */
  token?: string | undefined;
  /** Use what is in the cache and no network. Default: whether `HF_HUB_OFFLINE` is set. */
  offline?: boolean | undefined;
  /**
   * Hash all files that come from the cache, not only those up to 32 MiB; damaged ones are downloaded anew. Default false: hashing
   * takes a second or two per gigabyte.
   */
  verify?: boolean | undefined;
  /** How often a request is tried again after a cut connection or an error of the server. Default 5. */
  retries?: number | undefined;
  /** Milliseconds with less than a KiB per second after which a connection counts as cut. Default 30000. */
  timeout?: number | undefined;
  /** Another `fetch`, for instance one that goes through a proxy. */
  fetch?: typeof fetch | undefined;
  onProgress?: ((progress: DownloadProgress) => void) | undefined;
  /** Gets one line for everything that is not as asked for but no error. Default: `console.warn`. */
  onWarning?: ((message: string) => void) | undefined;
  signal?: AbortSignal | undefined;
  /** Default `process.env`. */
  env?: Environment | undefined;
}

/**
 * The folder of a model, downloaded if need be.
 * @param pathOrRepository a folder, or `organisation/name` on the hub; a folder that exists goes first
 * @throws DejaDitError `NOT_FOUND`, `NETWORK` (try again: what has arrived is kept), `ABORTED`, `INVALID_FILE` if the
 *   repository's listing is hostile, `RUNTIME` if the cache cannot be written
 * @example
 * const folder = await resolveModel('organisation/name', { variant: 'fp16' });
 */
export async function resolveModel(pathOrRepository: string, args: ResolveOptions = {}): Promise<string> {
  const options = readArguments(resolveShape, args, { of: 'resolveModel' });
  if (typeof pathOrRepository !== 'string')
    throw new DejaDitError('INVALID_ARGUMENT', `expected a folder or a repository id, got ${quote(pathOrRepository)}`, {
      path: 'model',
    });
  const found = await stat(pathOrRepository).catch(() => undefined);
  if (found?.isDirectory()) {
    if (options.verify)
      throw new DejaDitError('INVALID_ARGUMENT', 'is a folder; only what comes from the hub has hashes to verify', {
        path: pathOrRepository,
      });
    return pathOrRepository;
  }
  if (found) {
    throw new DejaDitError('INVALID_ARGUMENT', describeFile(pathOrRepository), { path: pathOrRepository });
  }
  requireRepositoryName(pathOrRepository);

  const { env = process.env, revision = 'main' } = options;
  if (!isInsidePath(revision)) {
    const message = `revision ${quote(revision)} is not the name of a branch, tag or commit`;
    throw new DejaDitError('INVALID_ARGUMENT', message, { path: pathOrRepository });
  }
  const cache = new RepositoryCache(options.cacheFolder ?? hubCacheFolder(env), pathOrRepository);
  const cached = await cache.find(revision);
  if (options.offline ?? isOn(env['HF_HUB_OFFLINE'])) {
    if (cached !== undefined) return requireIntact(cache, cached, options);
    const message = `no such folder, and '${revision}' is not in the cache ${cache.folder}; offline mode (HF_HUB_OFFLINE) keeps it from being downloaded`;
    throw new DejaDitError('NOT_FOUND', message, { path: pathOrRepository });
  }
  const client = hubClient(pathOrRepository, options);
  const onWarning = options.onWarning ?? warn;

  let listing: { commit: string; files: RemoteFile[] };
  try {
    // With something to fall back on there is no point in trying again and again.
    listing = await listRevision(cached === undefined ? client : client.with({ retries: 0 }), revision);
  } catch (error) {
    if (cached === undefined || !isOutage(error)) throw error;
    // What the cache has only in part is no substitute.
    if ((await missingFrom(cached, options)) !== undefined) throw error;
    onWarning(`${(error as DejaDitError).message}; going on with the snapshot in the cache`);
    return requireIntact(cache, cached, options);
  }
  const snapshot = new SnapshotDownload(client, cache, { ...options, onWarning, env }, listing.commit);
  await snapshot.fetch(await snapshot.select(listing.files), options.onProgress);
  await cache.setReference(revision, listing.commit);
  return cache.snapshot(listing.commit);
}

const advice: HubAdvice = {
  refused: 'check the name, accept the licence on its page if it has one, and set HF_TOKEN',
  missing: 'check the name and the revision',
  limited: 'wait some minutes, or set HF_TOKEN for a higher limit',
  unreachable: 'check it and try again, downloads continue where they stopped; HF_HUB_OFFLINE=1 uses only the cache',
};

/** The hub that the options and the environment name, asked about one repository. */
export function hubClient(repository: string, options: ResolveOptions = {}): HubClient {
  requireRepositoryName(repository);
  const { env = process.env } = options;
  return new HubClient(repository, {
    hubUrl: hubAddress(options.hubUrl ?? (env['HF_ENDPOINT'] || 'https://huggingface.co')),
    token: accessToken(options.token ?? env['HF_TOKEN']),
    fetch: options.fetch ?? fetch,
    retries: options.retries ?? 5,
    timeout: options.timeout ?? 30_000,
    signal: options.signal,
    advice,
  });
}

/** The address without a slash at the end. What may hold a password is refused, and never printed. */
function hubAddress(given: string): string {
  const fail = (reason: string) =>
    new DejaDitError('INVALID_ARGUMENT', `the address of the hub (hubUrl, HF_ENDPOINT) ${reason}`);
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) throw fail('must begin with https:// or http://');
  if (url.username || url.password || url.search || url.hash)
    throw fail('must hold no user name, password or query; an access token goes into HF_TOKEN');
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
}

/** A token that can be sent in a header. It is never printed. */
function accessToken(given: string | undefined): string | undefined {
  const token = given?.trim() || undefined;
  if (token === undefined || /^[\x21-\x7e]+$/.test(token)) return token;
  const message = 'the access token (token, HF_TOKEN) holds a line break or another character that no token has';
  throw new DejaDitError('INVALID_ARGUMENT', message);
}

/** A snapshot that is used without a hub to bring what is damaged anew. */
async function requireIntact(cache: RepositoryCache, snapshot: string, options: ResolveOptions): Promise<string> {
  const { verify, revision = 'main' } = options;
  const missing = await missingFrom(snapshot, options);
  if (missing !== undefined) {
    const message = `'${revision}' is in the cache without ${missing}: other files of it were fetched; go online once, and the rest is downloaded`;
    throw new DejaDitError('NOT_FOUND', message, { path: snapshot });
  }
  const damaged = await cache.firstDamaged(snapshot, { thorough: verify ?? false });
  if (damaged === undefined) return snapshot;
  const message = 'is damaged: its bytes are not those its hash names; go online once, and it is downloaded anew';
  throw new DejaDitError('INVALID_FILE', message, { path: damaged });
}

/** `organisation/name`, or the bare name that some of the oldest repositories have. */
function requireRepositoryName(name: string): void {
  if (/^\w[\w.-]*(\/\w[\w.-]*)?$/.test(name) && !/--|\.\./.test(name)) return;
  const message = 'no such folder, and not a name that a repository can have (organisation/name)';
  throw new DejaDitError('NOT_FOUND', message, { path: name });
}

/** The files of a branch, a tag or a commit. */
export async function listRevision(
  client: HubClient,
  revision: string,
): Promise<{ commit: string; files: RemoteFile[] }> {
  const commit = isCommit(revision) ? revision : await client.commitOf(revision);
  return { commit, files: await client.list(commit) };
}

/** Whether the hub is away or unwell, as opposed to refusing. */
function isOutage(error: unknown): boolean {
  if (!(error instanceof DejaDitError) || error.code !== 'NETWORK') return false;
  const status = (error.cause as { statusCode?: number } | undefined)?.statusCode;
  return status !== 401 && status !== 403;
}

/** Files of one commit on their way into the cache. */
class SnapshotDownload {
  readonly #client: HubClient;
  readonly #cache: RepositoryCache;
  readonly #options: ResolveOptions;
  readonly #commit: string;

  constructor(client: HubClient, cache: RepositoryCache, options: ResolveOptions, commit: string) {
    this.#client = client;
    this.#cache = cache;
    this.#options = options;
    this.#commit = commit;
  }

  /** The files that are needed; for a pipeline its index tells, which is therefore fetched here. */
  async select(files: readonly RemoteFile[]): Promise<RemoteFile[]> {
    const { allowPatterns, variant, withoutWeights, onWarning } = this.#options;
    const { repository } = this.#client;
    const paths = files.map(({ path }) => path);
    const foreign = allowPatterns ? undefined : describeForeign(paths);
    if (foreign !== undefined) throw new DejaDitError('UNSUPPORTED', foreign, { path: repository });
    const wanted = new Set(
      allowPatterns
        ? matchPatterns(paths, allowPatterns)
        : selectRepositoryFiles(paths, {
            repository,
            variant,
            withoutWeights,
            onWarning,
            components: await this.#components(files),
          }),
    );
    // Paths from the network become paths on this disk.
    const outside = [...wanted].find((path) => !isInsidePath(path));
    if (outside !== undefined) {
      throw new DejaDitError('INVALID_FILE', `lists ${quote(outside)}, which is not inside it`, { path: repository });
    }
    return files.filter(({ path }) => wanted.has(path));
  }

  async #components(files: readonly RemoteFile[]): Promise<readonly string[] | undefined> {
    const { components: asked } = this.#options;
    const paths = files.map(({ path }) => path);
    const indexName = indexAmong(paths);
    const index = files.find(({ path }) => path === indexName);
    // A repository of one model has its files at its root.
    if (!index)
      return asked?.filter((name) => files.some(({ path }) => path.startsWith(`${name}/`))).length ? asked : undefined;
    await this.fetch([index]);
    const folder = this.#cache.snapshot(this.#commit);
    const file = join(folder, index.path);
    const { className, components } = parseModelIndex(await readJsonFile(file), { file, folder });
    this.#options.checkClass?.({ className, components });
    // Components of modular pipelines may be in other repositories.
    const folders = new Map(
      [...components].flatMap(([name, component]) => {
        const inside = component?.origin?.subfolder || name;
        return component && (!component.origin || paths.some((path) => path.startsWith(`${inside}/`)))
          ? [[name, inside] as const]
          : [];
      }),
    );
    const present = [...folders.keys()];
    const unknown = asked?.find((name) => !present.includes(name));
    if (unknown === undefined) return (asked ?? present).map((name) => folders.get(name)!);
    const message = `has no component '${unknown}'; it has ${present.join(', ')}`;
    throw new DejaDitError('NOT_FOUND', message, { path: this.#client.repository });
  }

  /** Puts files into the snapshot, several at a time; the first failure stops the others. */
  async fetch(files: readonly RemoteFile[], onProgress?: ResolveOptions['onProgress']): Promise<void> {
    const commit = this.#commit;
    const missing: RemoteFile[] = [];
    for (const file of files)
      if (!(await this.#isIntact(join(this.#cache.snapshot(commit), file.path), file))) missing.push(file);

    const { signal } = this.#options;
    const stop = new AbortController();
    const client = this.#client.with({ signal: signal ? AbortSignal.any([signal, stop.signal]) : stop.signal });
    let failure: unknown;
    const fail = (error: unknown) => {
      failure ??= error;
      stop.abort();
    };
    const report = progressReporter(missing, onProgress);
    const queue = missing.values();
    const work = async () => {
      for (const file of queue) {
        const onReceived = (received: number) => {
          try {
            report(file, received);
          } catch (error) {
            fail(error); // the caller's error, which must not pass for one of the network
          }
        };
        await this.#fetchOne(client, file, onReceived).catch(fail);
        if (stop.signal.aborted) return;
      }
    };
    await Promise.all(Array.from({ length: parallelDownloads }, work));
    throwIfAborted(signal);
    if (failure !== undefined) throw failure;
  }

  #isIntact(path: string, file: RemoteFile): Promise<boolean> {
    return isIntact(path, file, { thorough: this.#options.verify ?? false });
  }

  async #fetchOne(client: HubClient, file: RemoteFile, onReceived: (bytes: number) => void): Promise<void> {
    const { path, hash } = file;
    const commit = this.#commit;
    if (await this.#isIntact(this.#cache.blob(hash), file)) {
      onReceived(file.size);
    } else {
      await downloadBlob({ client, commit, file, blob: this.#cache.blob(hash), onReceived });
    }
    const copy = isOn(this.#options.env?.['HF_HUB_DISABLE_SYMLINKS']);
    const refused = await this.#cache.link({ commit, path, hash, copy });
    if (refused === undefined) return;
    this.#options.onWarning?.(
      `${client.repository}/${path}: copied, since ${this.#cache.folder} cannot hold links (${refused}): it takes twice the space`,
    );
  }
}

function progressReporter(files: readonly RemoteFile[], onProgress: ResolveOptions['onProgress']) {
  const overall = { received: 0, total: files.reduce((sum, { size }) => sum + size, 0) };
  const byPath = new Map<string, number>();
  return ({ path, size }: RemoteFile, received: number): void => {
    overall.received += received - (byPath.get(path) ?? 0);
    byPath.set(path, received);
    onProgress?.({ file: path, received, total: size, overall: { ...overall } });
  };
}
