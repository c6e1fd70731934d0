import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFolder } from './create-folder.ts';
import { checkFolderWritable, checkWritable, replaceFile, writeFileAtomically } from './replace-file.ts';

let folder: string;
const at = (name: string) => join(folder, name);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'replace-'));
});
afterEach(() => rm(folder, { recursive: true }));

describe('an output', () => {
  it('appears whole, in folders that are created', async () => {
    await writeFileAtomically(at('a/b/out.json'), 'text');
    await writeFileAtomically(at('a/b/out.json'), Buffer.from('more'));
    expect(await readFile(at('a/b/out.json'), 'utf8')).toBe('more');
    expect(await readdir(at('a/b'))).toEqual(['out.json']);
  });

  it('that fails leaves what was there, and nothing else', async () => {
    await writeFile(at('out'), 'old');
    const failing = replaceFile(at('out'), async (temporary) => {
      await writeFile(temporary, 'half');
      throw new Error('the work failed');
    });
    await expect(failing).rejects.toThrow(/^the work failed$/);
    expect(await readFile(at('out'), 'utf8')).toBe('old');
    expect(await readdir(folder)).toEqual(['out']);
  });

  it('replaces a link, not what it leads to', async () => {
    await writeFile(at('secret'), 'theirs');
    await symlink('secret', at('out'));
    await writeFileAtomically(at('out'), 'ours');
    expect(await readFile(at('secret'), 'utf8')).toBe('theirs');
    expect(await readFile(at('out'), 'utf8')).toBe('ours');
  });

  // A limit on file sizes stands for a full disk: writing begins well and then is refused.
  it('on a full disk is one error, and no file', async () => {
    const program = `
      import { checkWritable, writeFileAtomically } from ${JSON.stringify(join(import.meta.dirname, '../../dist/files/replace-file.js'))};
      await checkWritable('small');
      await writeFileAtomically('small', 'fits');
      await writeFileAtomically('large', 'x'.repeat(1e6)).catch((error) => console.log(error.code, error.message));`;
    await writeFile(at('program.mjs'), program);
    const { stdout } = await promisify(execFile)(
      'bash',
      ['-c', `trap '' XFSZ; ulimit -f 128; exec "$1" program.mjs`, 'bash', process.execPath],
      { cwd: folder },
    );
    expect(stdout).toBe("RUNTIME large: cannot be written (EFBIG): check the disk's space and permissions\n");
    expect((await readdir(folder)).sort()).toEqual(['program.mjs', 'small']);
  });
});

describe('before the work', () => {
  it('a place that can be written passes, and nothing is left there', async () => {
    await writeFile(at('old'), '');
    await checkWritable(at('old'));
    await checkWritable(at('new/folder/file'));
    await checkFolderWritable(at('new/folder'));
    expect(await readdir(folder)).toEqual(['old']);
  });

  it.each([
    ['.', 'INVALID_ARGUMENT', /is a folder; name a file to write$/],
    ['/dev/null', 'INVALID_ARGUMENT', /is a device; name a file to write$/],
    ['file/inside', 'RUNTIME', /cannot be written \(ENOTDIR\): check the disk/],
    ['/proc/none', 'RUNTIME', /cannot be written \((ENOENT|EACCES)\)/],
  ])('%s does not', async (name, code, message) => {
    await writeFile(at('file'), '');
    const checking = checkWritable(name.startsWith('/') ? name : at(name));
    await expect(checking).rejects.toMatchObject({ name: 'DejaDitError', code });
    await expect(checking).rejects.toThrow(message);
  });
});

describe('what killed runs have left', () => {
  const host = hostname().replace(/[^\w.-]/g, '_');

  it('is cleared by the next, if it is ours and its owner is gone', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ['-p', 'process.pid']);
    const gone = stdout.trim();
    const kept = [
      'model',
      `.model.${host}-${process.ppid}-0123abcd.deja-dit.tmp`,
      `.model.elsewhere-${gone}-0123abcd.deja-dit.tmp`,
      `.model.${host}-${process.pid}-00000000.deja-dit.tmp`,
      `.model.${host}-${gone}-0123abcd.tmp`,
      `model.${host}-${gone}-0123abcd.deja-dit.tmp`,
    ];
    const cleared = [`.model.${host}-${gone}-0123abcd.deja-dit.tmp`, `.x.y.${host}-${gone}-89abcdef.deja-dit.tmp`];
    for (const name of [...kept, ...cleared]) {
      await mkdir(at(name));
      await writeFile(join(at(name), 'model.safetensors'), 'large');
    }
    // Of an earlier process that had our number, as in containers.
    const reborn = `.model.${host}-${process.pid}-11111111.deja-dit.tmp`;
    await writeFile(at(reborn), '');
    await utimes(at(reborn), 1, 1);
    await createFolder(at('next'), (inside) => writeFile(join(inside, 'file'), ''));
    expect((await readdir(folder)).sort()).toEqual([...kept, 'next'].sort());
  });
});
