/**
 * Models that a browser keeps (in its origin-private file system), so that a second visit downloads nothing. Files are kept in parts, each
 * complete or not there: a download that broke off goes on with the first part that is missing.
 */
import { DejaDitError } from '../../errors/errors.ts';

export interface KeptModel {
  /** The address or repository that it is from. */
  name: string;
  version: string;
  /** Sizes by path. */
  files: Record<string, { size: number }>;
  /** Whether all of them are there. Parts of a download that broke off are known by its version too. */
  complete: boolean;
}

const folderName = 'deja-dit';
const recordName = 'model.json';

/** Where this browser keeps models; undefined where it keeps nothing (pages from the disk, private windows of some browsers). */
export async function openStore(): Promise<FileSystemDirectoryHandle | undefined> {
  try {
    const root = await navigator.storage.getDirectory();
    // Browsers whose files can only be written in a worker are treated as if they had none.
    if (!('createWritable' in FileSystemFileHandle.prototype)) return undefined;
    return await root.getDirectoryHandle(folderName, { create: true });
  } catch {
    return undefined;
  }
}

/** A model's place in the store. */
export class ModelStore {
  private constructor(private readonly folder: FileSystemDirectoryHandle) {}

  static async open(store: FileSystemDirectoryHandle, name: string): Promise<ModelStore> {
    return new ModelStore(await store.getDirectoryHandle(encodeURIComponent(name), { create: true }));
  }

  /** Of what the parts are, as it was recorded. */
  async record(): Promise<KeptModel | undefined> {
    const file = await this.part(recordName);
    if (!file) return undefined;
    return JSON.parse(await file.text()) as KeptModel;
  }

  async setRecord(model: KeptModel): Promise<void> {
    await this.write(recordName, new TextEncoder().encode(JSON.stringify(model)));
  }

  /** A part that is there. */
  async part(name: string): Promise<File | undefined> {
    try {
      return await (await this.folder.getFileHandle(encodeURIComponent(name))).getFile();
    } catch (error) {
      if ((error as Error).name === 'NotFoundError') return undefined;
      throw error;
    }
  }

  /** Writes a part, which is there when the promise is fulfilled, and not before. */
  async write(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const handle = await this.folder.getFileHandle(`${encodeURIComponent(name)}`, { create: true });
    try {
      const stream = await handle.createWritable();
      await stream.write(bytes);
      await stream.close();
    } catch (cause) {
      await this.folder.removeEntry(encodeURIComponent(name)).catch(() => {});
      const reason = `the browser's storage cannot take it (${(cause as Error).name}): free some space, or pass store: false`;
      throw new DejaDitError('RUNTIME', reason, { path: name, cause });
    }
  }

  /** Removes everything, for another version of the model. */
  async clear(): Promise<void> {
    for await (const name of this.folder.keys()) await this.folder.removeEntry(name);
  }
}

/**
 * The models that this browser keeps.
 * @example
 * for (const { name, bytes } of await keptModels()) console.log(name, bytes);
 */
export async function keptModels(): Promise<{ name: string; bytes: number }[]> {
  const store = await openStore();
  const found: { name: string; bytes: number }[] = [];
  if (!store) return found;
  for await (const [encoded, handle] of store.entries()) {
    let bytes = 0;
    for await (const part of (handle as FileSystemDirectoryHandle).values())
      if (part.kind === 'file') bytes += (await (part as FileSystemFileHandle).getFile()).size;
    found.push({ name: decodeURIComponent(encoded), bytes });
  }
  return found;
}

/** Gives the space of a kept model back. @param name as `keptModels` has it */
export async function removeModel(name: string): Promise<void> {
  const store = await openStore();
  await store?.removeEntry(encodeURIComponent(name), { recursive: true }).catch((error: Error) => {
    if (error.name !== 'NotFoundError') throw error;
  });
}
