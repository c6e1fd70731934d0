/** Files that are nowhere but in a test. */
import type { Files } from '../files.ts';

/** @param contents texts or bytes by path */
export function filesInMemory(contents: Readonly<Record<string, string | Uint8Array>>): Files {
  const encoder = new TextEncoder();
  const files = new Map(
    Object.entries(contents).map(([path, content]) => [
      path,
      typeof content === 'string' ? encoder.encode(content) : content,
    ]),
  );
  const inside = (folder: string) => {
    const start = folder === '' ? '' : `${folder}/`;
    const names = [...files.keys()].filter((path) => path.startsWith(start));
    return names.length === 0 ? undefined : [...new Set(names.map((path) => path.slice(start.length).split('/')[0]!))];
  };
  return {
    async stat(path) {
      const file = files.get(path);
      if (file) return { kind: 'file', size: file.length };
      return inside(path) && { kind: 'folder', size: 0 };
    },
    list: async (folder) => inside(folder),
    async open(path) {
      const file = files.get(path);
      return (
        file && {
          size: file.length,
          async read(target, position) {
            const part = file.subarray(position, position + target.length);
            target.set(part);
            return part.length;
          },
          close: async () => {},
        }
      );
    },
  };
}
