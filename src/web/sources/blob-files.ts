/** Files that a browser has at hand, in a folder, dropped or stored: blobs by path, of which only what is read comes into memory. */
import { DejaDitError } from '../../errors/errors.ts';
import type { Files, OpenedFile } from '../../files/files.ts';

export interface BlobEntry {
  size: number;
  blob(): Promise<Blob>;
}

export function blobFiles(entries: ReadonlyMap<string, BlobEntry>): Files {
  return folderedFiles(entries, async ({ blob }, path) => {
    const content = await blob();
    return {
      size: content.size,
      async read(target, position) {
        const part = content.slice(position, position + target.length);
        const bytes = new Uint8Array(await part.arrayBuffer().catch((cause: unknown) => unreadable(path, cause)));
        target.set(bytes);
        return bytes.length;
      },
      close: async () => {},
    };
  });
}

/** The tree that paths make, with files that are opened in some way. */
export function folderedFiles<Entry extends { size: number }>(
  entries: ReadonlyMap<string, Entry>,
  open: (entry: Entry, path: string) => Promise<OpenedFile>,
): Files {
  const list = (folder: string): string[] | undefined => {
    const start = folder === '' ? '' : `${folder}/`;
    const inside = [...entries.keys()].filter((path) => path.startsWith(start));
    if (inside.length === 0) return undefined;
    return [...new Set(inside.map((path) => path.slice(start.length).split('/')[0]!))];
  };
  return {
    async stat(path) {
      const entry = entries.get(path);
      if (entry) return { kind: 'file', size: entry.size };
      return list(path) && { kind: 'folder', size: 0 };
    },
    list: async (folder) => list(folder),
    async open(path) {
      const entry = entries.get(path);
      return entry && open(entry, path);
    },
  };
}

function unreadable(path: string, cause: unknown): never {
  const reason = `cannot be read any more (${(cause as Error).name}): it was changed or moved, choose it again`;
  throw new DejaDitError('INVALID_FILE', reason, { path, cause });
}
