/** What files are that are something else than their names say. */

/** What a file that cannot be read holds instead of what its name says, told by its first eight bytes, or characters of Latin-1. */
export function describeContent(start: Uint8Array | string): string | undefined {
  const text = typeof start === 'string' ? start.slice(0, 8) : String.fromCharCode(...start.subarray(0, 8));
  if (text === 'version ') return 'is a pointer of Git LFS, not the file itself: run `git lfs pull` in its repository';
  if (text.startsWith('GGUF')) return 'is a GGUF file, whatever its name says';
  if (text.startsWith('PK\x03\x04') || text.startsWith('\x80\x02')) return 'is a pickle, whatever its name says';
  return undefined;
}
