/**
 * Writes files that appear complete or not at all: under a passing name beside their own, then renamed. Every output goes through here,
 * and its place is looked at before anything is computed for it.
 */
import { type FileHandle, mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { DejaDitError } from '../errors/errors.ts';
import { kindOf } from './disk.ts';
import { clearAbandoned, temporaryPath } from './temporary.ts';

/**
 * Puts a file, link or folder in place in one step, whatever file was there before. Folders above it are created.
 * @param make is given the name to write to
 * @throws DejaDitError `RUNTIME` if it cannot be written; nothing is left then, and an older file of that name is as it was
 */
export async function replaceFile(path: string, make: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = temporaryPath(path);
  try {
    await mkdir(dirname(path), { recursive: true });
    await clearAbandoned(dirname(path));
    await make(temporary);
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {}); // the first error is the one to report
    throw cause instanceof Error && 'syscall' in cause ? unwritable(path, cause) : cause;
  }
}

/** Writes bytes or text. @throws DejaDitError as `replaceFile` */
export async function writeFileAtomically(path: string, content: string | Uint8Array): Promise<void> {
  await replaceFile(path, async (temporary) => {
    await withNewFile(temporary, (handle) => handle.writeFile(content));
  });
}

/** A file that is on the disk when the promise is fulfilled, so that renaming it cannot outrun its bytes. */
export async function withNewFile(path: string, fill: (handle: FileHandle) => Promise<void>): Promise<void> {
  const handle = await open(path, 'wx');
  try {
    await fill(handle);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

/** As much as tells a disk that is full or may not be written. */
const trialBytes = 1 << 16;

/**
 * Finds out whether a file can be written, by writing another beside it (or beside the first folder that would be created).
 * @throws DejaDitError `RUNTIME` if the disk refuses, `INVALID_ARGUMENT` if there is something else than a file of that name
 */
export async function checkWritable(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found && !found.isFile())
    throw new DejaDitError('INVALID_ARGUMENT', `is ${kindOf(found)}; name a file to write`, { path });
  await tryWriting(path);
}

/** The same for what is written into a folder, new or not. @throws DejaDitError `RUNTIME` */
export async function checkFolderWritable(folder: string): Promise<void> {
  await tryWriting(resolve(folder, 'trial'), folder);
}

async function tryWriting(path: string, about = path): Promise<void> {
  let trial = resolve(path);
  while (!(await exists(dirname(trial)))) trial = dirname(trial);
  const temporary = temporaryPath(trial);
  try {
    await writeFile(temporary, new Uint8Array(trialBytes), { flag: 'wx' });
  } catch (cause) {
    throw unwritable(about, cause);
  } finally {
    await rm(temporary, { force: true }).catch(() => {}); // the first error is the one to report
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** The disk's refusal as a `RUNTIME` error about `path`. */
export function unwritable(path: string, cause: unknown): DejaDitError {
  const reason = (cause as NodeJS.ErrnoException).code;
  return new DejaDitError('RUNTIME', `cannot be written (${reason}): check the disk's space and permissions`, {
    path,
    cause,
  });
}
