/** Reads a file on the disk for functions that cannot wait. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { DejaDitError } from '../errors/errors.ts';
import { cannotOpen, isMissing, readingFlags, requireRegular } from './disk.ts';
import { type ReadFileOptions, requireSize } from './files.ts';

/** As `readFileBytes`. @throws DejaDitError as that */
export function readFileBytesSync(path: string, { maxBytes }: ReadFileOptions): Buffer {
  let descriptor: number;
  try {
    descriptor = openSync(path, readingFlags);
  } catch (cause) {
    if (isMissing(cause)) throw new DejaDitError('NOT_FOUND', 'no such file', { path, cause });
    throw cannotOpen(path, cause);
  }
  try {
    const found = fstatSync(descriptor);
    requireRegular(found, path);
    requireSize(found.size, { path, maxBytes });
    const bytes = Buffer.alloc(found.size);
    let done = 0;
    while (done < found.size) {
      const bytesRead = readSync(descriptor, bytes, done, found.size - done, done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return bytes.subarray(0, done);
  } catch (cause) {
    if (cause instanceof DejaDitError) throw cause;
    throw new DejaDitError('INVALID_FILE', `cannot be read (${(cause as NodeJS.ErrnoException).code})`, {
      path,
      cause,
    });
  } finally {
    closeSync(descriptor);
  }
}
