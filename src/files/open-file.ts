/**
 * Opens files for reading: regular ones of bounded size, nothing else. A pipe would block for ever, a device has no end, a socket
 * or a folder holds no bytes; and names come from strangers' model folders, where each of them may be anything. What a file holds is
 * left to the readers.
 */
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { DejaDitError } from '../errors/errors.ts';

/**
 * Does not wait for the other end of a pipe. Windows has neither the flag nor such files, and a page that only imports this has no
 * constants at all.
 */
const readingFlags = () => constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

export interface OpenedFile {
  /** The caller closes it. */
  handle: FileHandle;
  /** Bytes when it was opened. */
  size: number;
}

/**
 * Opens a regular file. It is looked at after opening, so that nothing can be put in its place in between.
 * @throws DejaDitError `NOT_FOUND` without such a file, `INVALID_FILE` if it is none or cannot be opened
 */
export async function openFile(path: string): Promise<OpenedFile> {
  const handle = await open(path, readingFlags()).catch((cause) => {
    throw cannotOpen(path, cause);
  });
  try {
    const stat = await handle.stat();
    requireRegular(stat, path);
    return { handle, size: stat.size };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

export interface ReadFileOptions {
  /** A larger file is refused before anything is read. */
  maxBytes: number;
}

/**
 * The bytes of a regular file.
 * @throws DejaDitError as `openFile`, and `INVALID_FILE` for one that is larger than `maxBytes`
 */
export async function readFileBytes(path: string, { maxBytes }: ReadFileOptions): Promise<Buffer> {
  const { handle, size } = await openFile(path);
  try {
    requireSize(size, { path, maxBytes });
    const bytes = Buffer.alloc(size);
    let done = 0;
    while (done < size) {
      const { bytesRead } = await handle.read(bytes, done, size - done, done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return bytes.subarray(0, done);
  } catch (cause) {
    if (cause instanceof DejaDitError) throw cause;
    throw new DejaDitError('INVALID_FILE', `cannot be read (${codeOf(cause)})`, { path, cause });
  } finally {
    await handle.close();
  }
}

/** `readFileBytes` for functions that cannot wait. */
export function readFileBytesSync(path: string, { maxBytes }: ReadFileOptions): Buffer {
  let descriptor: number;
  try {
    descriptor = openSync(path, readingFlags());
  } catch (cause) {
    throw cannotOpen(path, cause);
  }
  try {
    const stat = fstatSync(descriptor);
    requireRegular(stat, path);
    requireSize(stat.size, { path, maxBytes });
    const bytes = Buffer.alloc(stat.size);
    let done = 0;
    while (done < stat.size) {
      const bytesRead = readSync(descriptor, bytes, done, stat.size - done, done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return bytes.subarray(0, done);
  } catch (cause) {
    if (cause instanceof DejaDitError) throw cause;
    throw new DejaDitError('INVALID_FILE', `cannot be read (${codeOf(cause)})`, { path, cause });
  } finally {
    closeSync(descriptor);
  }
}

function requireRegular(stat: Stats, path: string): void {
  if (stat.isFile()) return;
  throw new DejaDitError('INVALID_FILE', `is ${kindOf(stat)}, not a regular file`, { path });
}

/** What a thing on the disk is that is no regular file. */
export function kindOf(stat: Stats): string {
  if (stat.isDirectory()) return 'a folder';
  if (stat.isFIFO()) return 'a pipe';
  if (stat.isSocket()) return 'a socket';
  return 'a device';
}

function requireSize(size: number, { path, maxBytes }: ReadFileOptions & { path: string }): void {
  if (size <= maxBytes) return;
  throw new DejaDitError('INVALID_FILE', `is ${size} bytes long, more than the ${maxBytes} that such a file may have`, {
    path,
  });
}

function cannotOpen(path: string, cause: unknown): DejaDitError {
  const code = codeOf(cause);
  if (code === 'ENOENT' || code === 'ENOTDIR') return new DejaDitError('NOT_FOUND', 'no such file', { path, cause });
  // So say systems of a socket, which cannot be opened at all.
  const reason = code === 'ENXIO' ? 'is a socket or a device' : `cannot be opened (${code})`;
  return new DejaDitError('INVALID_FILE', reason, { path, cause });
}

function codeOf(cause: unknown): string {
  return (cause as NodeJS.ErrnoException).code ?? (cause as Error).message;
}
