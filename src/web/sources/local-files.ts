/** Files that somebody chose or dropped, as blobs by path. */
import { DejaDitError } from '../../errors/errors.ts';
import type { BlobEntry } from './blob-files.ts';

/** Far above what a model has. */
const maxFiles = 10_000;

/** Everything below a folder that a page was given. */
export async function filesOfFolder(folder: FileSystemDirectoryHandle): Promise<Map<string, BlobEntry>> {
  const entries = new Map<string, BlobEntry>();
  const walk = async (at: FileSystemDirectoryHandle, start: string): Promise<void> => {
    for await (const [name, handle] of at.entries()) {
      if (handle.kind === 'directory') {
        await walk(handle as FileSystemDirectoryHandle, `${start}${name}/`);
        continue;
      }
      if (entries.size >= maxFiles)
        throw new DejaDitError('INVALID_FILE', `has more than ${maxFiles} files`, { path: folder.name });
      const file = await (handle as FileSystemFileHandle).getFile();
      entries.set(`${start}${name}`, { size: file.size, blob: async () => file });
    }
  };
  await walk(folder, '');
  return entries;
}

/**
 * Files of an input or a drop. They have paths where a folder was chosen, of which the part that all share goes; else they lie side by
 * side.
 */
export function filesOfList(files: Iterable<File>): Map<string, BlobEntry> {
  const paths = Array.from(files, (file) => [file.webkitRelativePath || file.name, file] as const);
  const folders = new Set(paths.map(([path]) => path.split('/').slice(0, -1)[0] ?? ''));
  const shared = folders.size === 1 ? `${[...folders][0]}/` : '/';
  return new Map(
    paths.map(([path, file]) => [
      shared === '/' ? path : path.slice(shared.length),
      { size: file.size, blob: async () => file },
    ]),
  );
}

/**
 * What was dropped: a folder as its handle where the browser has such, else all files.
 * @example
 * addEventListener('drop', async (event) => {
 *   event.preventDefault();
 *   const pipe = await DiffusionPipeline.fromPretrained(await dropped(event.dataTransfer!));
 * });
 */
export async function dropped(transfer: DataTransfer): Promise<FileSystemDirectoryHandle | File[]> {
  // All of it is asked for before anything is awaited: afterwards it is gone.
  const files = [...transfer.files];
  const handles = [...transfer.items].map((item) => (item as DroppedItem).getAsFileSystemHandle?.());
  const [first] = (await Promise.all(handles)).filter((handle) => handle?.kind === 'directory');
  return (first as FileSystemDirectoryHandle | undefined) ?? files;
}

/** Not in all browsers, nor in TypeScript's types. */
type DroppedItem = DataTransferItem & { getAsFileSystemHandle?(): Promise<FileSystemHandle | null> };
