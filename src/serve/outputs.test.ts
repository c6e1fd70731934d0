/** Files that requests have written: into the server's folder, and nowhere else. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Image } from '../images/image.ts';
import type { Server } from './server.ts';
import { ask, startServer } from './testing/start.ts';

const folder = realpathSync(mkdtempSync(path.join(os.tmpdir(), 'outputs-')));
const [root, elsewhere] = [path.join(folder, 'out'), path.join(folder, 'elsewhere')];
afterAll(() => rmSync(folder, { recursive: true }));

let server: Server;
beforeAll(async () => {
  mkdirSync(elsewhere);
  server = await startServer({ outputDir: root });
  symlinkSync(elsewhere, path.join(root, 'link'));
});

const draw = { prompt: 'red apple', width: 64, height: 64, num_inference_steps: 1, seed: 7, output_format: 'path' };
const generate = (output_dir: string | undefined) =>
  ask<{ images: string[]; detail: string }>(server, '/generate', { body: { ...draw, output_dir } });

it.each([
  [undefined, '.'],
  ['sub/folder', 'sub/folder'],
  [path.join(root, 'absolute'), 'absolute'],
])('%s', async (given, place) => {
  const { status, body } = await generate(given);
  expect(status, body.detail).toBe(200);
  const [file] = body.images;
  expect(path.dirname(file!)).toBe(path.resolve(root, place));
  expect(path.basename(file!)).toMatch(/^image_[0-9a-f]{32}_0\.png$/);
  expect(await Image.load(readFileSync(file!))).toMatchObject({ width: 64, height: 64 });
});

it.each([
  '..',
  '../elsewhere',
  elsewhere,
  '/etc',
  'link',
  'link/sub',
  'sub/../../elsewhere',
  `${root}2`,
])('%s is refused', async (given) => {
  const { status, body } = await generate(given);
  expect([status, body.detail]).toEqual([403, expect.stringMatching(/outside/)]);
  expect(readdirSync(elsewhere)).toEqual([]);
  expect(readdirSync(folder).sort()).toEqual(['elsewhere', 'out']);
});

it("is where SGLang's output_path and A1111's save_images put theirs", async () => {
  const fields = { prompt: 'red apple', seed: 7, num_inference_steps: 1, size: '64x64', output_path: 'sglang' };
  const { body } = await ask<{ data: { file_path: string }[] }>(server, '/v1/images/generations', { body: fields });
  expect(path.dirname(body.data[0]!.file_path)).toBe(path.join(root, 'sglang'));
  const before = readdirSync(root).length;
  await ask(server, '/sdapi/v1/txt2img', {
    body: { prompt: 'red apple', steps: 1, width: 64, height: 64, save_images: true },
  });
  expect(readdirSync(root)).toHaveLength(before + 1);
});
