/**
 * The hashes that name blobs in the cache, and whether a file on disk still has its own. Disks forget and other programs check sizes
 * only; hashing a model of many gigabytes at every start would take longer than loading it. So small files, whose errors are the
 * confusing ones (configs, tokenizers), are hashed whenever they are taken from the cache, large ones when they arrive, and all of
 * them on demand.
 */
import { createHash, type Hash } from 'node:crypto';
import { openFile } from '../../files/files.ts';
import type { Fingerprint } from './hub-client.ts';

/** Git's name for a file is the hash of a short header and the contents. */
export function startHash({ algorithm, size }: Omit<Fingerprint, 'hash'>): Hash {
  return algorithm === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}

/** Up to here a file is hashed at every use: a tenth of a second. */
const smallBytes = 2 ** 25;

/**
 * Whether a file is there, whole and, if it is small or `thorough` is true, the one that its hash names.
 */
export async function isIntact(
  path: string,
  { size, hash, algorithm }: Fingerprint,
  { thorough = false }: { thorough?: boolean } = {},
): Promise<boolean> {
  const opened = await openFile(path).catch(() => undefined);
  if (!opened) return false;
  try {
    if (opened.size !== size) return false;
    if (size > smallBytes && !thorough) return true;
    const found = startHash({ algorithm, size });
    const buffer = Buffer.alloc(Math.min(size, 1 << 20));
    for (let done = 0; done < size; ) {
      const read = await opened.read(buffer, done);
      if (read === 0) return false;
      found.update(buffer.subarray(0, read));
      done += read;
    }
    return found.digest('hex') === hash;
  } finally {
    await opened.close();
  }
}
