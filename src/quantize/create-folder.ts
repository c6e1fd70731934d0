/** Folders that are complete or not there at all: filled under another name beside their own, and renamed. */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { DejaDitError } from '../errors/errors.ts';

/**
 * @param fill is given the folder to write into
 * @throws DejaDitError INVALID_ARGUMENT if the folder has files in it, RUNTIME if it cannot be written
 */
export async function createFolder(folder: string, fill: (inside: string) => Promise<void>): Promise<void> {
  await checkVacant(folder);
  const target = path.resolve(folder);
  const temporary = `${target}.${randomUUID()}.tmp`;
  try {
    await mkdir(temporary, { recursive: true });
    await fill(temporary);
    // Not every system renames onto an empty folder.
    await rmdir(target).catch(() => {});
    await rename(temporary, target);
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {}); // the first error is the one to report
    if (cause instanceof DejaDitError) throw cause;
    throw unwritable(folder, cause);
  }
}

/**
 * Whether a folder can be created, before the work for it begins.
 * @throws DejaDitError INVALID_ARGUMENT, RUNTIME
 */
export async function checkVacant(folder: string): Promise<void> {
  const names = await readdir(folder).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return [];
    throw unwritable(folder, cause);
  });
  if (names.length === 0) return;
  throw new DejaDitError('INVALID_ARGUMENT', 'is there already and not empty; delete it or name another folder', {
    path: folder,
  });
}

function unwritable(folder: string, cause: unknown): DejaDitError {
  const reason = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message;
  return new DejaDitError('RUNTIME', `cannot be written (${reason})`, { path: folder, cause });
}
