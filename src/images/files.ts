/** Image files on disk, whatever is in them: which format a name stands for, reading with a limit, writing at once. */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DejaDitError } from '../errors/errors.ts';

export type ImageFormat = 'png' | 'jpeg' | 'webp' | 'avif';

const extensions: Record<string, ImageFormat> = {
  '.png': 'png',
  '.jpg': 'jpeg',
  '.jpeg': 'jpeg',
  '.webp': 'webp',
  '.avif': 'avif',
};
const largestFile = 2 ** 28;

/** The format for a file name. @throws DejaDitError `UNSUPPORTED` if the extension names none */
export function formatOf(path: string): ImageFormat {
  const format = extensions[extname(path).toLowerCase()];
  if (format !== undefined) return format;
  const known = Object.keys(extensions).join(', ');
  throw new DejaDitError('UNSUPPORTED', `no image format has the extension '${extname(path)}', use ${known}`, { path });
}

/** The bytes of an image file, unless it is larger than any image this engine takes. */
export async function readImageFile(source: string | URL): Promise<Uint8Array> {
  const path = source instanceof URL ? pathOf(source) : source;
  try {
    const { size } = await stat(path);
    if (size > largestFile) {
      throw new DejaDitError('INVALID_FILE', `is ${size} bytes, images may have up to ${largestFile}`, { path });
    }
    return await readFile(path);
  } catch (cause) {
    if (cause instanceof DejaDitError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') throw new DejaDitError('NOT_FOUND', 'no such image file', { path });
    throw new DejaDitError('INVALID_FILE', `cannot be read: ${message}`, { path, cause });
  }
}

function pathOf(url: URL): string {
  if (url.protocol === 'file:') return fileURLToPath(url);
  throw new DejaDitError('UNSUPPORTED', 'only file: URLs are read; download the image and pass its bytes', {
    path: url.href,
  });
}

/** Writes the file under a passing name first, so that it appears complete or not at all. Folders are created. */
export async function writeImageFile(path: string, bytes: Uint8Array): Promise<void> {
  const folder = dirname(path);
  const unfinished = join(folder, `.${randomUUID()}.tmp`);
  try {
    await mkdir(folder, { recursive: true });
    await writeFile(unfinished, bytes);
    await rename(unfinished, path);
  } catch (cause) {
    await rm(unfinished, { force: true }).catch(() => {});
    throw new DejaDitError('INVALID_ARGUMENT', `cannot be written: ${oneLine(cause)}`, { path, cause });
  }
}

/** An error's message without line breaks and control characters. */
export function oneLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).replace(/[\s\p{Cc}]+/gu, ' ').trim();
}
