/** Folders that are complete or not there at all: filled under another name beside their own, and renamed. */
import { mkdir, readdir, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { DejaDitError } from '../errors/errors.ts';
import { checkFolderWritable, replaceFile, unwritable } from './replace-file.ts';

/**
 * @param fill is given the folder to write into
 * @throws DejaDitError INVALID_ARGUMENT if the folder has files in it, RUNTIME if it cannot be written
 */
export async function createFolder(folder: string, fill: (inside: string) => Promise<void>): Promise<void> {
  await requireEmpty(folder);
  const target = path.resolve(folder);
  await replaceFile(target, async (temporary) => {
    await mkdir(temporary);
    await fill(temporary);
    // Not every system renames onto an empty folder.
    await rmdir(target).catch(() => {});
  });
}

/**
 * Whether a folder can be created, before the work for it begins.
 * @throws DejaDitError INVALID_ARGUMENT, RUNTIME
 */
export async function checkVacant(folder: string): Promise<void> {
  await requireEmpty(folder);
  await checkFolderWritable(folder);
}

async function requireEmpty(folder: string): Promise<void> {
  const names = await readdir(folder).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return [];
    throw unwritable(folder, cause);
  });
  if (names.length === 0) return;
  throw new DejaDitError('INVALID_ARGUMENT', 'is there already and not empty; delete it or name another folder', {
    path: folder,
  });
}
