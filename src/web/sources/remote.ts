/** Models on servers: which files there are, and their bytes by ranges. A hub lists its files, a folder has a `manifest.json`. */
import * as z from 'zod';
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { parseJson } from '../../files/json.ts';
import { type HubAdvice, HubClient, type HubClientOptions, StatusError } from '../../weights/hub/hub-client.ts';
import { isInsidePath } from '../../weights/hub/hub-files.ts';

export interface RemoteOptions {
  /** Branch, tag or commit of a hub's repository. Default `main`. */
  revision?: string | undefined;
  /** Default https://huggingface.co. */
  hubUrl?: string | undefined;
  /** Access token of the hub. */
  token?: string | undefined;
  /** Another `fetch`. */
  fetch?: typeof fetch | undefined;
  /** How often a request is tried again after a cut connection or an error of the server. Default 5. */
  retries?: number | undefined;
  signal?: AbortSignal | undefined;
}

export interface RemoteEntry {
  size: number;
}

export interface RemoteModel {
  /** Address of the folder, or the name of the repository. */
  readonly name: string;
  /** What else the copies in storage are known by: they are of this state. */
  readonly version: string;
  readonly files: ReadonlyMap<string, RemoteEntry>;
  /** Bytes of a file from `from` up to, not with, `to`. @throws DejaDitError `NETWORK` or `NOT_FOUND` */
  fetchRange(path: string, range: { from: number; to: number }): Promise<Uint8Array<ArrayBuffer>>;
}

export const manifestName = 'manifest.json';

/** A browser does not tell a page why it was given no answer. */
const unreachable =
  'check it, and that the server allows pages of other addresses (CORS), and try again: what is kept is not fetched again';
const ofHub: HubAdvice = {
  refused: 'check the name, accept the licence on its page if it has one, and pass an access token as `token`',
  missing: 'check the name and the revision',
  limited: 'wait some minutes, or pass an access token as `token` for a higher limit',
  unreachable,
};
const ofFolder: HubAdvice = {
  refused: 'pass a `fetch` that sends what the server asks for (`token` goes to a hub only)',
  missing: `${manifestName} lists it: write that anew with \`deja-dit manifest <folder>\`, or bring the file`,
  limited: 'wait some minutes',
  unreachable,
};

const manifestSchema = z.object({ files: z.record(z.string(), z.object({ size: z.int().nonnegative() })) });
const maxManifestBytes = 4_000_000;

/**
 * A folder on any server of static files. Its `manifest.json` (`deja-dit manifest <folder>` writes it) says which files there are.
 * @throws DejaDitError `NOT_FOUND` without a manifest, `INVALID_FILE` if it is none
 */
export async function openUrl(address: URL, options: RemoteOptions): Promise<RemoteModel> {
  const root = address.href.replace(/[?#].*$/, '').replace(/\/?$/, '/');
  const client = clientFor(root, { ...options, hubUrl: address.origin, token: undefined, advice: ofFolder });
  const url = new URL(manifestName, root).href;
  const text = await client.retrying(
    async (fetch) => {
      const response = await fetch(url, { cache: 'no-cache' });
      if (response.status === 404) {
        const message = 'is not there: write it with `deja-dit manifest <folder>`, a server cannot list its files';
        throw new DejaDitError('NOT_FOUND', message, { path: url });
      }
      if (!response.ok) throw new StatusError(response.status);
      return response.text();
    },
    { path: url },
  );
  const bad = (message: string) => new DejaDitError('INVALID_FILE', message, { path: url });
  if (text.length > maxManifestBytes) throw bad(`has more than ${maxManifestBytes} characters`);
  const result = manifestSchema.safeParse(parseJson(text, { path: url, uniqueKeys: true }));
  if (!result.success) throw bad(`is no manifest: ${result.error.issues[0]!.path.join('.')} is wrong`);
  const files = new Map(Object.entries(result.data.files));
  requireInside(files.keys(), url);
  return {
    name: root.slice(0, -1),
    version: await digest(text),
    files,
    fetchRange: (path, range) =>
      fetchRange(client, new URL(path.split('/').map(encodeURIComponent).join('/'), root).href, range),
  };
}

/** A repository of a hub. */
export async function openRepository(repository: string, options: RemoteOptions): Promise<RemoteModel> {
  const client = clientFor(repository, { ...options, advice: ofHub });
  const { revision = 'main' } = options;
  const commit = /^[0-9a-f]{40}$/.test(revision) ? revision : await client.commitOf(revision);
  const files = new Map((await client.list(commit)).map(({ path, size }) => [path, { size }]));
  requireInside(files.keys(), repository);
  return {
    name: repository,
    version: commit,
    files,
    fetchRange: (path, range) => fetchRange(client, client.url(commit, path), range),
  };
}

function clientFor(name: string, options: RemoteOptions & Pick<HubClientOptions, 'advice'>): HubClient {
  return new HubClient(name, {
    hubUrl: (options.hubUrl ?? 'https://huggingface.co').replace(/\/+$/, ''),
    token: options.token,
    fetch: options.fetch ?? ((input, init) => fetch(input, init)),
    retries: options.retries ?? 5,
    timeout: 30_000,
    signal: options.signal,
    advice: options.advice,
  });
}

/** A server without ranges sends all of a file; what is not wanted of it is let go. */
async function fetchRange(
  client: HubClient,
  url: string,
  { from, to }: { from: number; to: number },
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(to - from);
  if (to === from) return bytes;
  await client.retrying(
    async (fetch) => {
      // The browser's cache would keep gigabytes a second time, and lets only one request of an address at a time through.
      const response = await fetch(url, { cache: 'no-store', headers: { Range: `bytes=${from}-${to - 1}` } });
      if (!response.ok) throw new StatusError(response.status);
      let at = response.status === 206 ? from : 0;
      const reader = response.body!.getReader();
      while (at < to) {
        const { done, value } = await reader.read();
        if (done) throw new Error(`ended after ${at - from} of ${to - from} bytes`);
        const start = Math.max(0, from - at);
        const wanted = value.subarray(start, Math.max(start, to - at));
        bytes.set(wanted, Math.max(0, at - from));
        at += value.length;
      }
      await reader.cancel();
    },
    { path: url },
  );
  return bytes;
}

function requireInside(paths: Iterable<string>, origin: string): void {
  for (const path of paths)
    if (!isInsidePath(path))
      throw new DejaDitError('INVALID_FILE', `lists ${quote(path)}, which is not inside it`, { path: origin });
}

async function digest(text: string): Promise<string> {
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return Array.from(new Uint8Array(hash).subarray(0, 16), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
