/**
 * Downloads one file into the cache as a blob. What has arrived is kept when a download ends early, and continued by the
 * next one; a blob appears under its name only when it is complete and has the right hash.
 */
import type { Hash } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { DejaDitError } from '../../errors/errors.ts';
import { isOwnerGone, ownerMark } from '../../files/temporary.ts';
import { writing } from './hub-cache.ts';
import { type HubClient, type RemoteFile, StatusError } from './hub-client.ts';
import { startHash } from './hub-hash.ts';

export interface BlobDownload {
  client: HubClient;
  commit: string;
  file: RemoteFile;
  /** Where the blob is to be. */
  blob: string;
  /** Bytes of the file that are here, after each piece. */
  onReceived: (bytes: number) => void;
}

/** @throws DejaDitError `NETWORK` if it does not arrive whole and right, `RUNTIME` if it cannot be written, `ABORTED` */
export async function downloadBlob(download: BlobDownload): Promise<void> {
  const { blob, file } = download;
  await writing(blob, () => mkdir(dirname(blob), { recursive: true }));
  const partial = await writing(blob, () => claimPartial(blob));
  const handle = await writing(partial, () => open(partial, 'a+'));
  let complete = false;
  try {
    const received = new Received(handle, { partial, file });
    await received.restore();
    await receive(download, received);
    complete = true;
  } finally {
    await handle.close();
    await writing(partial, async () => {
      if (complete) await rename(partial, blob);
      else if ((await stat(partial)).size > 0) await rename(partial, `${blob}.incomplete`);
      else await rm(partial);
    });
  }
}

async function receive({ client, commit, file, onReceived }: BlobDownload, received: Received): Promise<void> {
  const path = `${client.repository}/${file.path}`;
  const url = client.url(commit, file.path);
  // Bytes from an earlier run may be of anything; those of this run are the server's. So a wrong hash is final only if
  // all bytes are from this run.
  for (;;) {
    const isResumed = received.bytes > 0;
    let most = received.bytes;
    const attempt = async (fetch: typeof globalThis.fetch) => {
      most = Math.max(most, received.bytes);
      onReceived(received.bytes);
      if (received.bytes === file.size) return;
      const range = received.bytes > 0 ? { headers: { Range: `bytes=${received.bytes}-` } } : {};
      const response = await fetch(url, range);
      if (response.status === 416) throw await wrongSize('shorter');
      if (!response.ok) throw new StatusError(response.status);
      // A server without ranges begins anew, and so must we.
      if (response.status !== 206) await received.reset();
      for await (const chunk of response.body ?? []) {
        await received.add(chunk);
        if (received.bytes > file.size) throw await wrongSize('longer');
        onReceived(received.bytes);
      }
      if (received.bytes < file.size) throw new Error(`ended after ${received.bytes} of ${file.size} bytes`);
    };
    await client.retrying(attempt, { path, progressed: () => received.bytes - most >= client.leastProgress });
    if (received.digest() === file.hash) return;
    await received.reset();
    if (!isResumed) {
      throw new DejaDitError('NETWORK', 'arrived damaged (not with the hash that the hub lists): try again', { path });
    }
  }

  async function wrongSize(how: string): Promise<DejaDitError> {
    await received.reset();
    return new DejaDitError('NETWORK', `is ${how} than the ${file.size} bytes that the hub lists: try again`, { path });
  }
}

/** The bytes of a file that are on disk, and their hash so far. */
class Received {
  readonly #handle: FileHandle;
  readonly #partial: string;
  readonly #file: RemoteFile;
  #hash: Hash;
  bytes = 0;

  constructor(handle: FileHandle, { partial, file }: { partial: string; file: RemoteFile }) {
    this.#handle = handle;
    this.#partial = partial;
    this.#file = file;
    this.#hash = startHash(file);
  }

  /** Takes over what an earlier download has left. */
  async restore(): Promise<void> {
    const buffer = Buffer.alloc(1 << 20);
    for (;;) {
      const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, this.bytes);
      if (bytesRead === 0) break;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.bytes += bytesRead;
    }
    if (this.bytes > this.#file.size) await this.reset();
  }

  async add(chunk: Uint8Array): Promise<void> {
    await writing(this.#partial, () => this.#handle.appendFile(chunk));
    this.#hash.update(chunk);
    this.bytes += chunk.length;
  }

  async reset(): Promise<void> {
    await writing(this.#partial, () => this.#handle.truncate(0));
    this.#hash = startHash(this.#file);
    this.bytes = 0;
  }

  digest(): string {
    return this.#hash.digest('hex');
  }
}

/**
 * A file to download into that no other process uses, holding what an earlier download of this blob has left. Renaming
 * is the lock: of two processes that want the same leftover one gets it, the other begins anew.
 */
async function claimPartial(blob: string): Promise<string> {
  const hash = basename(blob);
  const own = `${blob}.${ownerMark()}.incomplete`;
  for (const name of await readdir(dirname(blob))) {
    const path = join(dirname(blob), name);
    if (!name.startsWith(`${hash}.`) || !(await isAbandoned(path, name.slice(hash.length)))) continue;
    const isMine = await rename(path, own).then(
      () => true,
      () => false,
    );
    if (isMine) break;
  }
  return own;
}

/** Longer than any download stays silent without being given up. */
const abandonedAfter = 10 * 60_000;

async function isAbandoned(path: string, suffix: string): Promise<boolean> {
  if (suffix === '.incomplete') return true;
  const [, owner] = /^\.(.+)\.incomplete$/.exec(suffix) ?? [];
  if (owner === undefined) return false;
  if (await isOwnerGone(owner, path)) return true;
  const found = await stat(path).catch(() => undefined);
  return found !== undefined && Date.now() - found.mtimeMs > abandonedAfter;
}
