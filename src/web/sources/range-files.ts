/** Files that stay on a server: every read is a request for a range. For browsers that keep nothing, and models that shall not be kept. */
import type { Files } from '../../files/files.ts';
import { folderedFiles } from './blob-files.ts';
import type { OnProgress } from './download.ts';
import type { RemoteModel } from './remote.ts';

export function rangeFiles(model: RemoteModel, onProgress: OnProgress | undefined): Files {
  const overall = { received: 0, total: [...model.files.values()].reduce((sum, { size }) => sum + size, 0) };
  return folderedFiles(model.files, async ({ size }, path) => {
    let received = 0;
    return {
      size,
      async read(target, position) {
        const to = Math.min(size, position + target.length);
        if (to <= position) return 0;
        target.set(await model.fetchRange(path, { from: position, to }));
        received += to - position;
        overall.received += to - position;
        onProgress?.({ file: path, received, total: size, overall: { ...overall } });
        return to - position;
      },
      close: async () => {},
    };
  });
}
