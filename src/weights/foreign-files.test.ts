/** What is no model in Diffusers layout is named for what it is, on disk and on the hub. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readJsonFile } from '../files/json.ts';
import { floatTensor } from '../tensor/tensor.ts';
import { resolveModel } from './hub/hub.ts';
import { readRemoteModel } from './hub/hub-headers.ts';
import { HubServer } from './hub/testing/hub-server.ts';
import { openModelFolder } from './model-folder.ts';
import { readSafetensors } from './safetensors/safetensors.ts';
import { writeSafetensors } from './safetensors/write-safetensors.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'deja-dit-foreign-'));
});
afterEach(() => rm(folder, { recursive: true }));

const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n';

it.each([
  ['flux.gguf', /flux\.gguf: is a GGUF file/],
  ['flux.safetensors', /is a single file, not a folder; load it with fromSingleFile/],
  ['flux.ckpt', /is a pickle/],
  ['notes.txt', /is a file; deja-dit reads folders/],
])('a path to %s', async (name, message) => {
  const file = path.join(folder, name);
  await writeFile(file, 'x');
  await expect(resolveModel(file)).rejects.toThrow(message);
});

describe.each([
  ['GGUF files', ['flux-Q4.gguf', 'README.md'], /holds GGUF files \('flux-Q4\.gguf'\)/],
  ['a single file', ['flux1-dev.safetensors', 'ae.safetensors'], /holds a single-file checkpoint/],
  ['a LoRA', ['pytorch_lora_weights.safetensors'], /is a LoRA, not a model/],
])('%s', (_, names, message) => {
  it('in a folder', async () => {
    for (const name of names.filter((name) => !name.includes('/'))) await writeFile(path.join(folder, name), '{}');
    await expect(openModelFolder(folder)).rejects.toThrow(message);
  });

  it('in a repository, before anything is downloaded', async () => {
    const server = await HubServer.start('org/model', Object.fromEntries(names.map((name) => [name, '{}'])));
    try {
      const options = { hubUrl: server.url, cacheFolder: folder, env: {} };
      await expect(resolveModel('org/model', options)).rejects.toThrow(message);
      await expect(readRemoteModel('org/model', options)).rejects.toThrow(message);
      expect(server.requests).toEqual([]);
    } finally {
      await server.stop();
    }
  });
});

it('pointers of Git LFS, as weights and as JSON', async () => {
  const [weights, json] = [path.join(folder, 'model.safetensors'), path.join(folder, 'tokenizer.json')];
  await writeFile(weights, pointer);
  await writeFile(json, pointer);
  await expect(readSafetensors(weights)).rejects.toThrow(`${weights}: is a pointer of Git LFS`);
  await expect(readJsonFile(json)).rejects.toThrow(`${json}: is a pointer of Git LFS`);
});

it('a header whose length begins as a pickle does is a header', async () => {
  const file = path.join(folder, 'model.safetensors');
  // 640 bytes: 0x80 0x02 and zeros.
  for (let name = 'w'; ; name += 'w') {
    const bytes = await writeSafetensors(file, { [name]: floatTensor(new Float32Array(2), [2]) }).then(() =>
      import('node:fs/promises').then(({ readFile }) => readFile(file)),
    );
    if (bytes.readUInt32LE(0) < 640) continue;
    expect(Object.keys(await readSafetensors(file))).toEqual([name]);
    break;
  }
});

it('of a repository, headers are read and nothing else', async () => {
  const file = path.join(folder, 'w.safetensors');
  await writeSafetensors(file, { 'proj_in.weight': floatTensor(new Float32Array(300_000), [300, 1000]) });
  const { readFile } = await import('node:fs/promises');
  const bytes = await readFile(file);
  const server = await HubServer.start('org/pipe', {
    'model_index.json':
      '{"_class_name": "DiTPipeline", "transformer": ["diffusers", "DiTTransformer2DModel"], "scheduler": ["diffusers", "DDIMScheduler"]}',
    'transformer/config.json': '{"_class_name": "DiTTransformer2DModel"}',
    'transformer/diffusion_pytorch_model.safetensors': bytes,
    'scheduler/scheduler_config.json': '{}',
  });
  try {
    const model = await readRemoteModel('org/pipe', {
      hubUrl: server.url,
      cacheFolder: path.join(folder, 'cache'),
      env: {},
    });
    expect(model.className).toBe('DiTPipeline');
    const [transformer, scheduler] = model.components;
    expect(transformer).toMatchObject({ name: 'transformer', className: 'DiTTransformer2DModel' });
    expect(transformer!.tensors.get('proj_in.weight')).toMatchObject({
      dtype: 'float32',
      shape: [300, 1000],
      bytes: 1_200_000,
    });
    expect(scheduler!.tensors.size).toBe(0);
    const ranges = server.requests.filter(({ path: name }) => name.endsWith('.safetensors')).map(({ range }) => range);
    expect(ranges).toEqual(['bytes=0-7', `bytes=8-${7 + bytes.readUInt32LE(0)}`]);
  } finally {
    await server.stop();
  }
});
