import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { isFolder, listFolder, mount, openFile, readFileText, statPath } from './files.ts';
import { extension, fileName, joinPath, parentPath } from './paths.ts';
import { filesInMemory } from './testing/files-in-memory.ts';

const folder = mkdtempSync(join(tmpdir(), 'files-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('what is mounted is read as the disk is', () => {
  writeFileSync(join(folder, 'a.txt'), 'from the disk');
  const root = 'https://models.example/m';

  it('under its root and nowhere else, until it is taken away', async () => {
    const files = filesInMemory({ 'a.txt': 'from elsewhere', 'sub/b.txt': '\ufeffmore' });
    {
      using _ = mount(root, files);
      expect(() => mount(root, files)).toThrow('is mounted already');
      expect(await readFileText(`${root}/a.txt`, { maxBytes: 100 })).toBe('from elsewhere');
      expect(await readFileText(joinPath(root, 'sub', 'b.txt'), { maxBytes: 100 })).toBe('more');
      expect((await listFolder(root)).sort()).toEqual(['a.txt', 'sub']);
      expect(await isFolder(root)).toBe(true);
      expect(await isFolder(`${root}/sub`)).toBe(true);
      expect(await statPath(`${root}/a.txt`)).toEqual({ kind: 'file', size: 14 });
      expect(await statPath(`${root}odel/a.txt`)).toBeUndefined();
      await expect(openFile(`${root}/c.txt`)).rejects.toMatchObject({ code: 'NOT_FOUND', path: `${root}/c.txt` });
      await expect(listFolder(`${root}/a.txt`)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(readFileText(`${root}/a.txt`, { maxBytes: 13 })).rejects.toThrow('is 14 bytes long');
      expect(await readFileText(join(folder, 'a.txt'), { maxBytes: 100 })).toBe('from the disk');
    }
    await expect(openFile(`${root}/a.txt`)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('and a file that is open stays open', async () => {
    const mounted = mount(root, filesInMemory({ 'a.txt': 'from elsewhere' }));
    const file = await openFile(`${root}/a.txt`);
    mounted[Symbol.dispose]();
    const bytes = new Uint8Array(4);
    expect(await file.read(bytes, 5)).toBe(4);
    expect(String.fromCharCode(...bytes)).toBe('else');
    expect(await file.read(bytes, file.size)).toBe(0);
    await file.close();
  });
});

it('paths', () => {
  expect(joinPath('/models/x/', 'vae', 'config.json')).toBe('/models/x/vae/config.json');
  expect(joinPath('/', 'a')).toBe('/a');
  expect(joinPath('', 'a')).toBe('a');
  expect(joinPath('https://host/m', 'a')).toBe('https://host/m/a');
  expect([parentPath('a/b/c'), parentPath('/a'), parentPath('a')]).toEqual(['a/b', '/', '.']);
  expect([fileName('a/b.txt'), fileName('b')]).toEqual(['b.txt', 'b']);
  expect([extension('a.x/b.PNG'), extension('a.x/b'), extension('.hidden')]).toEqual(['.png', '', '']);
});
