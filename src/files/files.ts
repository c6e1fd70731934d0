/**
 * Where files are read from: the disk, or whatever else is mounted under a path of its own (a server, a folder that a page was given).
 * Readers take paths and need not know which it is. What may be opened on the disk is up to `disk.ts`.
 */

import { disk } from '#files/disk';
import { DejaDitError } from '../errors/errors.ts';

/** A tree of files. Paths are relative to its top, which is `''`, with slashes between names. */
export interface Files {
  /** Undefined if there is nothing of that name. */
  stat(path: string): Promise<FileStat | undefined>;
  /** Names of what is in a folder, without paths; undefined if it is none. */
  list(folder: string): Promise<string[] | undefined>;
  /**
   * Undefined if there is no such file.
   * @throws DejaDitError `INVALID_FILE` for what is no regular file or cannot be opened
   */
  open(path: string): Promise<OpenedFile | undefined>;
}

export interface FileStat {
  /** `other`: what is neither, and cannot be read. */
  kind: 'file' | 'folder' | 'other';
  /** Bytes of a file. */
  size: number;
}

export interface OpenedFile {
  /** Bytes when it was opened. */
  readonly size: number;
  /**
   * Fills `target`, or its beginning, with the bytes from `position` on. The read has begun when this returns.
   * @returns how many bytes were read; 0 at the end of the file only
   */
  read(target: Uint8Array, position: number): Promise<number>;
  close(): Promise<void>;
}

export interface ReadFileOptions {
  /** A larger file is refused before anything is read. */
  maxBytes: number;
}

const mounted = new Map<string, Files>();

/**
 * Makes files readable as `<root>/<path>` until what is returned is disposed. Files that are open then stay open.
 * @param root without a slash at its end; nothing else may be mounted there
 */
export function mount(root: string, files: Files): Disposable {
  if (mounted.has(root)) throw new DejaDitError('INVALID_ARGUMENT', 'is mounted already', { path: root });
  mounted.set(root, files);
  return { [Symbol.dispose]: () => void mounted.delete(root) };
}

function locate(path: string): { files: Files; inside: string } {
  for (const [root, files] of mounted) {
    if (path === root) return { files, inside: '' };
    if (path.startsWith(`${root}/`)) return { files, inside: path.slice(root.length + 1) };
  }
  return { files: disk, inside: path };
}

/** What a path leads to; undefined if to nothing. */
export async function statPath(path: string): Promise<FileStat | undefined> {
  const { files, inside } = locate(path);
  return files.stat(inside);
}

export async function isFolder(path: string): Promise<boolean> {
  return (await statPath(path))?.kind === 'folder';
}

/** Names of what is in a folder. @throws DejaDitError `NOT_FOUND` without such a folder */
export async function listFolder(path: string): Promise<string[]> {
  const { files, inside } = locate(path);
  const names = await files.list(inside);
  if (names) return names;
  throw new DejaDitError('NOT_FOUND', 'no such folder', { path });
}

/**
 * Opens a regular file; the caller closes it.
 * @throws DejaDitError `NOT_FOUND` without such a file, `INVALID_FILE` if it is none or cannot be opened
 */
export async function openFile(path: string): Promise<OpenedFile> {
  const { files, inside } = locate(path);
  const file = await files.open(inside);
  if (file) return file;
  throw new DejaDitError('NOT_FOUND', 'no such file', { path });
}

/**
 * The bytes of a regular file.
 * @throws DejaDitError as `openFile`, and `INVALID_FILE` for one that is larger than `maxBytes`
 */
export async function readFileBytes(path: string, { maxBytes }: ReadFileOptions): Promise<Uint8Array<ArrayBuffer>> {
  const file = await openFile(path);
  try {
    requireSize(file.size, { path, maxBytes });
    const bytes = new Uint8Array(file.size);
    let done = 0;
    while (done < bytes.length) {
      const read = await file.read(bytes.subarray(done), done);
      if (read === 0) break;
      done += read;
    }
    return bytes.subarray(0, done);
  } catch (cause) {
    if (cause instanceof DejaDitError) throw cause;
    const reason = (cause as { code?: string }).code ?? (cause as Error).message;
    throw new DejaDitError('INVALID_FILE', `cannot be read (${reason})`, { path, cause });
  } finally {
    await file.close();
  }
}

/** The text of a file in UTF-8, without a byte order mark. @throws DejaDitError as `readFileBytes` */
export async function readFileText(path: string, options: ReadFileOptions): Promise<string> {
  return new TextDecoder().decode(await readFileBytes(path, options));
}

/** @throws DejaDitError `INVALID_FILE` */
export function requireSize(size: number, { path, maxBytes }: ReadFileOptions & { path: string }): void {
  if (size <= maxBytes) return;
  throw new DejaDitError('INVALID_FILE', `is ${size} bytes long, more than the ${maxBytes} that such a file may have`, {
    path,
  });
}
