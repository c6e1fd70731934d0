/**
 * The disk as `Files`: regular files are opened, nothing else. A pipe would block for ever, a device has no end, a socket or a folder
 * holds no bytes; and names come from strangers' model folders, where each of them may be anything. What a file holds is left to the
 * readers.
 */
import { constants, type Stats } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { DejaDitError } from '../errors/errors.ts';
import type { Files, OpenedFile } from './files.ts';

/** Does not wait for the other end of a pipe. Windows has neither the flag nor such files. */
export const readingFlags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

export const disk: Files = {
  async stat(path) {
    const found = await stat(path).catch(() => undefined);
    if (!found) return undefined;
    const kind = found.isFile() ? 'file' : found.isDirectory() ? 'folder' : 'other';
    return { kind, size: found.size };
  },

  async list(folder) {
    return readdir(folder).catch(() => undefined);
  },

  async open(path): Promise<OpenedFile | undefined> {
    const handle = await open(path, readingFlags).catch((cause: unknown) => {
      if (!isMissing(cause)) throw cannotOpen(path, cause);
    });
    if (!handle) return undefined;
    try {
      // Looked at after opening, so that nothing can be put in its place in between.
      const found = await handle.stat();
      requireRegular(found, path);
      return {
        size: found.size,
        read: async (target, position) => (await handle.read(target, 0, target.length, position)).bytesRead,
        close: () => handle.close(),
      };
    } catch (error) {
      await handle.close();
      throw error;
    }
  },
};

/** @throws DejaDitError `INVALID_FILE` */
export function requireRegular(found: Stats, path: string): void {
  if (found.isFile()) return;
  throw new DejaDitError('INVALID_FILE', `is ${kindOf(found)}, not a regular file`, { path });
}

/** What a thing on the disk is that is no regular file. */
export function kindOf(found: Stats): string {
  if (found.isDirectory()) return 'a folder';
  if (found.isFIFO()) return 'a pipe';
  if (found.isSocket()) return 'a socket';
  return 'a device';
}

export function isMissing(cause: unknown): boolean {
  const { code } = cause as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

export function cannotOpen(path: string, cause: unknown): DejaDitError {
  const { code, message } = cause as NodeJS.ErrnoException;
  // So say systems of a socket, which cannot be opened at all.
  const reason = code === 'ENXIO' ? 'is a socket or a device' : `cannot be opened (${code ?? message})`;
  return new DejaDitError('INVALID_FILE', reason, { path, cause });
}
