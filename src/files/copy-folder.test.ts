import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { copyFiles, listFiles, requireOutside } from './copy-folder.ts';

let top: string;
let model: string;
beforeEach(async () => {
  top = await mkdtemp(join(tmpdir(), 'copy-'));
  model = join(top, 'model');
  await mkdir(join(model, 'vae'), { recursive: true });
  await mkdir(join(model, 'transformer'));
  await writeFile(join(model, 'vae', 'config.json'), '{}');
  await writeFile(join(model, 'transformer', 'config.json'), '{}');
  await writeFile(join(top, 'secret'), 'root:x');
});
afterEach(() => rm(top, { recursive: true }));

const list = (linksMayLeadTo?: string) => listFiles({ folder: model, except: ['transformer'], linksMayLeadTo });

it('copies files, and what links inside stand for', async () => {
  await symlink('vae', join(model, 'vae_2'));
  await symlink('../vae/config.json', join(model, 'vae', 'link.json'));
  const items = await list();
  expect(items.map(({ path }) => path).sort()).toEqual([
    'vae/config.json',
    'vae/link.json',
    'vae_2/config.json',
    'vae_2/link.json',
  ]);
  await copyFiles(items, join(top, 'copy'));
  expect(await readFile(join(top, 'copy/vae_2/link.json'), 'utf8')).toBe('{}');
});

it('follows links into the blobs of a cache, if it is one', async () => {
  await mkdir(join(top, 'blobs'));
  await writeFile(join(top, 'blobs', 'abc'), 'blob');
  await symlink('../blobs/abc', join(model, 'model_index.json'));
  await expect(list()).rejects.toThrow(/model_index\.json: is a link out of the model's folder/);
  expect((await list(join(top, 'blobs'))).map(({ path }) => path)).toContain('model_index.json');
});

it.each([
  ['a file outside', '../secret', /secret: put what it links to in its place/],
  ['a system file', '/etc/passwd', /link out of the model's folder, to \/etc\/passwd/],
  ['a folder outside', '..', /is a link out of the model's folder/],
  ['nothing', 'nowhere', /is a link that leads nowhere \(ENOENT\)/],
  ['itself', 'link', /is a link that leads nowhere \(ELOOP\)/],
  ['its own folder', '.', /is a link to a folder that it is in/],
])('refuses a link to %s before anything is copied', async (_, target, message) => {
  await symlink(target, join(model, 'link'));
  await expect(list()).rejects.toMatchObject({ code: 'INVALID_FILE', path: join(model, 'link') });
  await expect(list()).rejects.toThrow(message);
});

it('refuses what is no file', async () => {
  execFileSync('mkfifo', [join(model, 'vae', 'pipe')]);
  await expect(list()).rejects.toThrow(/vae.pipe: is a pipe: remove it$/);
});

it('tells a folder inside another, behind links and before it exists', async () => {
  await symlink('model', join(top, 'alias'));
  for (const inside of [model, join(model, 'out'), join(model, 'vae', 'a', 'b'), join(top, 'alias', 'out')])
    await expect(requireOutside(inside, model)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', path: inside });
  for (const outside of [join(top, 'out'), join(top, 'model-2'), join(top, 'a', 'b'), join(model, '..', 'out')])
    await requireOutside(outside, model);
});
