/**
 * The cache on disk that Python's `huggingface_hub` uses too, so that a model downloaded by one is there for the other:
 * `models--org--name/` with `blobs/<hash>`, `snapshots/<commit>/<path>` as links to blobs, and `refs/<branch>` with the
 * commit a branch stood at. Nothing here touches the network.
 */
import { copyFile, readdir, readlink, stat, symlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { DejaDitError } from '../../errors/errors.ts';
import { readFileText } from '../../files/files.ts';
import { replaceFile, unwritable, writeFileAtomically } from '../../files/replace-file.ts';
import { isIntact } from './hub-hash.ts';

/** Environment variables, passed in so that a test need not change the process's own. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `hub` in `HF_HOME`, else in the user's cache folder. */
export function hubCacheFolder(env: Environment): string {
  const cacheHome = env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  const home = env['HF_HOME'] || join(cacheHome, 'huggingface');
  const folder = env['HF_HUB_CACHE'] || env['HUGGINGFACE_HUB_CACHE'] || join(home, 'hub');
  return folder.replace(/^~(?=$|[/\\])/, homedir());
}

/** Whether an environment variable means yes, by the rules of `huggingface_hub`. */
export function isOn(value: string | undefined): boolean {
  return ['1', 'ON', 'YES', 'TRUE'].includes((value ?? '').toUpperCase());
}

export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

/** Where the links of a snapshot in the cache lead; undefined for any other folder. */
export function blobsOfSnapshot(folder: string): string | undefined {
  const repository = dirname(dirname(resolve(folder)));
  const isSnapshot = basename(dirname(resolve(folder))) === 'snapshots' && basename(repository).startsWith('models--');
  return isSnapshot ? join(repository, 'blobs') : undefined;
}

export class RepositoryCache {
  readonly folder: string;

  constructor(cacheFolder: string, repository: string) {
    this.folder = join(cacheFolder, `models--${repository.replaceAll('/', '--')}`);
  }

  blob(hash: string): string {
    return join(this.folder, 'blobs', hash);
  }

  snapshot(commit: string): string {
    return join(this.folder, 'snapshots', commit);
  }

  /** The snapshot of a branch, tag or commit, if there is one. */
  async find(revision: string): Promise<string | undefined> {
    const commit = isCommit(revision) ? revision : await this.#commitOf(revision);
    if (commit === undefined) return undefined;
    return stat(this.snapshot(commit)).then(
      () => this.snapshot(commit),
      () => undefined,
    );
  }

  async #commitOf(revision: string): Promise<string | undefined> {
    const path = join(this.folder, 'refs', revision);
    const text = (await readFileText(path, { maxBytes: 100 }).catch(() => '')).trim();
    return isCommit(text) ? text : undefined;
  }

  /** Remembers where a branch or tag stands. Done last: a reference leads to snapshots that have all that was asked for. */
  async setReference(revision: string, commit: string): Promise<void> {
    if (revision === commit || (await this.#commitOf(revision)) === commit) return;
    const path = join(this.folder, 'refs', revision);
    await writeFileAtomically(path, commit);
  }

  /**
   * The first file of a snapshot that is not what its blob's name says, without asking a hub. Copies, which stand where there are no
   * links, tell no hash and pass.
   */
  async firstDamaged(snapshot: string, options: { thorough: boolean }): Promise<string | undefined> {
    for (const entry of await readdir(snapshot, { recursive: true, withFileTypes: true })) {
      if (!entry.isSymbolicLink()) continue;
      const path = join(entry.parentPath, entry.name);
      const hash = basename(await readlink(path));
      const algorithm = /^[0-9a-f]{64}$/.test(hash) ? 'sha256' : isCommit(hash) ? 'git' : undefined;
      const found = await stat(path).catch(() => undefined);
      if (found?.isDirectory() || algorithm === undefined) continue;
      if (!found || !(await isIntact(path, { size: found.size, hash, algorithm }, options))) return path;
    }
    return undefined;
  }

  /**
   * Makes a blob appear in a snapshot, as a relative link like those of Python's library.
   * @param copy copies instead, for disks without links (`HF_HUB_DISABLE_SYMLINKS`)
   * @returns the reason if a link was wanted and could not be made, so that a copy was
   */
  async link(file: { commit: string; path: string; hash: string; copy: boolean }): Promise<string | undefined> {
    const pointer = join(this.snapshot(file.commit), file.path);
    const blob = this.blob(file.hash);
    const copy = () => replaceFile(pointer, (temporary) => copyFile(blob, temporary));
    if (file.copy) return void (await copy());
    try {
      await replaceFile(pointer, (temporary) => symlink(relative(dirname(pointer), blob), temporary));
      return undefined;
    } catch (error) {
      await copy();
      return ((error as DejaDitError).cause as NodeJS.ErrnoException).code;
    }
  }
}

/** Runs an action on the disk; what goes wrong there becomes a `RUNTIME` error about `path`. */
export async function writing<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    throw cause instanceof DejaDitError ? cause : unwritable(path, cause);
  }
}
