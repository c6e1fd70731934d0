/**
 * The cache on disk that Python's `huggingface_hub` uses too, so that a model downloaded by one is there for the other:
 * `models--org--name/` with `blobs/<hash>`, `snapshots/<commit>/<path>` as links to blobs, and `refs/<branch>` with the
 * commit a branch stood at. Nothing here touches the network.
 */
import { randomUUID } from 'node:crypto';
import { copyFile, mkdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { DejaDitError } from '../errors/errors.ts';

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
    return (await sizeOnDisk(this.snapshot(commit))) === undefined ? undefined : this.snapshot(commit);
  }

  async #commitOf(revision: string): Promise<string | undefined> {
    const text = await readFile(join(this.folder, 'refs', revision), 'utf8').catch(() => '');
    return isCommit(text.trim()) ? text.trim() : undefined;
  }

  /** Remembers where a branch or tag stands. Done last: a reference leads to snapshots that have all that was asked for. */
  async setReference(revision: string, commit: string): Promise<void> {
    if (revision === commit || (await this.#commitOf(revision)) === commit) return;
    const path = join(this.folder, 'refs', revision);
    await writing(path, () => replace(path, (temporary) => writeFile(temporary, commit)));
  }

  /** Whether a file is in the snapshot, or a blob in the cache, whole: a crash may have left less of it. */
  async has({ commit, path, size }: { commit: string; path: string; size: number }): Promise<boolean> {
    return (await sizeOnDisk(join(this.snapshot(commit), path))) === size;
  }

  async hasBlob({ hash, size }: { hash: string; size: number }): Promise<boolean> {
    return (await sizeOnDisk(this.blob(hash))) === size;
  }

  /**
   * Makes a blob appear in a snapshot, as a relative link like those of Python's library.
   * @param copy copies instead, for disks without links (`HF_HUB_DISABLE_SYMLINKS`)
   * @returns the reason if a link was wanted and could not be made, so that a copy was
   */
  async link(file: { commit: string; path: string; hash: string; copy: boolean }): Promise<string | undefined> {
    const pointer = join(this.snapshot(file.commit), file.path);
    const blob = this.blob(file.hash);
    const copy = () => writing(pointer, () => replace(pointer, (temporary) => copyFile(blob, temporary)));
    if (file.copy) return void (await copy());
    try {
      await replace(pointer, (temporary) => symlink(relative(dirname(pointer), blob), temporary));
      return undefined;
    } catch (error) {
      await copy();
      return (error as NodeJS.ErrnoException).code;
    }
  }
}

/** Puts a file in place in one step, whatever was there before. */
async function replace(path: string, make: (temporary: string) => Promise<void>): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await make(temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function sizeOnDisk(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ size }) => size,
    () => undefined,
  );
}

/** Runs an action on the disk; what goes wrong there becomes a `RUNTIME` error about `path`. */
export async function writing<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message;
    throw new DejaDitError('RUNTIME', `cannot be written (${reason}): check the disk's space and permissions`, {
      path,
      cause,
    });
  }
}
