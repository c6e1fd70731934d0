/** What a repository's weights are, without downloading them: the headers of its safetensors files, read by HTTP ranges. */
import { DejaDitError } from '../../errors/errors.ts';
import { parseJson } from '../../files/json.ts';
import { describeForeign } from '../foreign-files.ts';
import { indexAmong, parseModelIndex } from '../model-folder.ts';
import { parseHeader, safetensorsHeaderBytes, type TensorInfo } from '../safetensors/safetensors-header.ts';
import { hubClient, listRevision, type ResolveOptions } from './hub.ts';
import { type HubClient, type RemoteFile, StatusError } from './hub-client.ts';
import { selectRepositoryFiles } from './hub-files.ts';

export interface RemoteComponent {
  /** Empty for a repository that is a single model. */
  name: string;
  className: string | undefined;
  tensors: ReadonlyMap<string, TensorInfo>;
}

export interface RemoteModel {
  className: string | undefined;
  components: RemoteComponent[];
}

/**
 * Fetches the index, the configs and the headers of the weights that loading would download; nothing goes into the cache.
 * @throws DejaDitError as `resolveModel`; `INVALID_FILE` for a damaged header
 */
export async function readRemoteModel(repository: string, options: ResolveOptions = {}): Promise<RemoteModel> {
  const { revision = 'main', variant, onWarning } = options;
  const remote = new RemoteFiles(hubClient(repository, options), await listFiles(repository, { ...options, revision }));
  const indexName = indexAmong(remote.paths);
  const index =
    indexName === undefined
      ? undefined
      : parseModelIndex(await remote.json(indexName), { file: `${repository}/${indexName}`, folder: '' });
  const parts = index
    ? [...index.components.values()].filter((component) => component !== null)
    : [{ name: '', className: undefined }];
  const wanted = selectRepositoryFiles(remote.paths, {
    repository,
    variant,
    onWarning,
    components: parts.map(({ name }) => name),
  });
  const components: RemoteComponent[] = [];
  for (const { name, className } of parts) {
    const inside = (path: string) => path.slice(0, Math.max(0, path.lastIndexOf('/'))) === name;
    const files = wanted.filter((path) => inside(path) && path.endsWith('.safetensors'));
    const headers = await Promise.all(files.map((file) => remote.tensors(file)));
    components.push({ name, className, tensors: new Map(headers.flatMap((header) => [...header])) });
  }
  if (index) return { className: index.className, components };
  const { _class_name: className } = await remote.json('config.json');
  return { className: typeof className === 'string' ? className : undefined, components };
}

async function listFiles(repository: string, options: ResolveOptions & { revision: string }) {
  const listing = await listRevision(hubClient(repository, options), options.revision);
  const foreign = describeForeign(listing.files.map(({ path }) => path));
  if (foreign !== undefined) throw new DejaDitError('UNSUPPORTED', foreign, { path: repository });
  return listing;
}

/** Far above any config. */
const maxJsonBytes = 32_000_000;

/** The files of one commit, read in part. */
class RemoteFiles {
  readonly #client: HubClient;
  readonly #commit: string;
  readonly #files: ReadonlyMap<string, RemoteFile>;

  constructor(client: HubClient, { commit, files }: { commit: string; files: readonly RemoteFile[] }) {
    this.#client = client;
    this.#commit = commit;
    this.#files = new Map(files.map((file) => [file.path, file]));
  }

  get paths(): string[] {
    return [...this.#files.keys()];
  }

  has(path: string): boolean {
    return this.#files.has(path);
  }

  async json(path: string): Promise<Record<string, unknown>> {
    const file = `${this.#client.repository}/${path}`;
    const size = this.#files.get(path)?.size;
    if (size === undefined) throw new DejaDitError('NOT_FOUND', 'no such file', { path: file });
    if (size > maxJsonBytes)
      throw new DejaDitError('INVALID_FILE', `is ${size} bytes long, too long for JSON`, { path: file });
    return parseJson((await this.#bytes(path, { from: 0, to: size })).toString('utf8'), { path: file });
  }

  async tensors(path: string): Promise<ReadonlyMap<string, TensorInfo>> {
    const file = `${this.#client.repository}/${path}`;
    const fileBytes = this.#files.get(path)!.size;
    const bytes = safetensorsHeaderBytes(await this.#bytes(path, { from: 0, to: 8 }), { file, fileBytes });
    return parseHeader(await this.#bytes(path, { from: 8, to: 8 + bytes }), { file, fileBytes }).tensors;
  }

  /** Bytes of a file, the last one exclusive. */
  async #bytes(path: string, { from, to }: { from: number; to: number }): Promise<Buffer> {
    if (from === to) return Buffer.alloc(0);
    return this.#client.retrying(
      async (fetch) => {
        const response = await fetch(this.#client.url(this.#commit, path), {
          headers: { Range: `bytes=${from}-${to - 1}` },
        });
        if (!response.ok) throw new StatusError(response.status);
        const bytes = await firstBytes(response, response.status === 206 ? to - from : to);
        return response.status === 206 ? bytes : bytes.subarray(from);
      },
      { path: `${this.#client.repository}/${path}` },
    );
  }
}

/** The beginning of an answer; a server without ranges would send gigabytes. */
async function firstBytes(response: Response, count: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let received = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    received += chunk.length;
    if (received >= count) break;
  }
  if (received < count) throw new Error(`ended after ${received} of ${count} bytes`);
  return Buffer.concat(chunks).subarray(0, count);
}
