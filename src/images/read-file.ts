/** Reads image files, with a limit. */
import { fileURLToPath } from 'node:url';
import { DejaDitError } from '../errors/errors.ts';
import { readFileBytes } from '../files/files.ts';

const largestFile = 2 ** 28;

/** The bytes of an image file, unless it is larger than any image this engine takes. */
export async function readImageFile(source: string | URL): Promise<Uint8Array> {
  return readFileBytes(source instanceof URL ? pathOf(source) : source, { maxBytes: largestFile });
}

function pathOf(url: URL): string {
  if (url.protocol === 'file:') return fileURLToPath(url);
  throw new DejaDitError('UNSUPPORTED', 'only file: URLs are read; download the image and pass its bytes', {
    path: url.href,
  });
}
