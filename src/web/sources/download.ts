/** Brings the files of a model into storage, in parts, several at a time, and reports bytes. */
import { throwIfAborted } from '../../errors/errors.ts';
import type { BlobEntry } from './blob-files.ts';
import type { RemoteModel } from './remote.ts';
import type { ModelStore } from './store.ts';

/** Little enough to hold several in memory, much enough to make few requests. */
const partBytes = 16 * 2 ** 20;
const parallel = 3;

export interface DownloadProgress {
  /** Path in the model. */
  file: string;
  /** Bytes of the file that are here. */
  received: number;
  total: number;
  /** The same over all files. */
  overall: { received: number; total: number };
}

export type OnProgress = (progress: DownloadProgress) => void;

interface Part {
  path: string;
  name: string;
  from: number;
  to: number;
}

/** Fetches what is not there yet. If that fails, what is under way comes to its end first, so that nothing is written afterwards. */
export async function download(
  model: RemoteModel,
  {
    paths,
    store,
    onProgress,
    signal,
  }: {
    paths: readonly string[];
    store: ModelStore;
    onProgress?: OnProgress | undefined;
    signal?: AbortSignal | undefined;
  },
): Promise<void> {
  const parts = paths.flatMap((path) => partsOf(path, model.files.get(path)!.size));
  const report = reporter(model, paths, onProgress);
  const queue = parts.values();
  let failed = false;
  const work = async (): Promise<void> => {
    for (const { path, name, from, to } of queue) {
      if (failed) return;
      throwIfAborted(signal);
      const kept = await store.part(name);
      if (kept?.size !== to - from) await store.write(name, await model.fetchRange(path, { from, to }));
      report(path, to - from);
    }
  };
  const fail = (error: unknown): never => {
    failed = true;
    throw error;
  };
  const ends = await Promise.allSettled(Array.from({ length: parallel }, () => work().catch(fail)));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

/** A stored file, as one blob; the parts stay on the disk. */
export function storedFile(path: string, size: number, store: ModelStore): BlobEntry {
  return {
    size,
    async blob() {
      const parts = await Promise.all(partsOf(path, size).map(({ name }) => store.part(name)));
      return new Blob(parts.filter((part) => part !== undefined));
    },
  };
}

function partsOf(path: string, size: number): Part[] {
  const count = Math.max(1, Math.ceil(size / partBytes));
  return Array.from({ length: count }, (_, i) => ({
    path,
    name: `${path}.${i}`,
    from: i * partBytes,
    to: Math.min(size, (i + 1) * partBytes),
  }));
}

function reporter({ files }: RemoteModel, paths: readonly string[], onProgress: OnProgress | undefined) {
  const received = new Map<string, number>();
  const overall = { received: 0, total: paths.reduce((sum, path) => sum + files.get(path)!.size, 0) };
  return (file: string, bytes: number): void => {
    overall.received += bytes;
    received.set(file, (received.get(file) ?? 0) + bytes);
    onProgress?.({ file, received: received.get(file)!, total: files.get(file)!.size, overall: { ...overall } });
  };
}
