import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { damageText, seeded } from '../files/testing/fuzz.ts';
import { floatTensor } from '../tensor/tensor.ts';
import { openWeights } from './open-weights.ts';
import { writeSafetensors } from './safetensors/write-safetensors.ts';
import { variantsAmong } from './weight-files.ts';
import type { WeightSource } from './weight-source.ts';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'open-weights-'));
});
afterAll(() => rm(root, { recursive: true }));

let count = 0;
type Contents = Record<string, number[] | object>;
/** A folder with safetensors files of scalars (`a.safetensors: { x: 1 }`) and JSON files. */
async function folderWith(files: Record<string, Contents>): Promise<string> {
  const folder = join(root, `case${count++}`);
  await mkdir(folder);
  for (const [name, contents] of Object.entries(files)) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    if (name.endsWith('.safetensors')) {
      const scalars = Object.entries(contents).map(([key, value]) => [key, floatTensor(value as number[])]);
      await writeSafetensors(path, Object.fromEntries(scalars));
    } else {
      await writeFile(path, JSON.stringify(contents));
    }
  }
  return folder;
}

/** Opens a folder and gives the first number of every tensor. */
async function contentsOf(folder: string, options?: Parameters<typeof openWeights>[1]) {
  const source = await openWeights(folder, options);
  const found: Record<string, number> = {};
  await source.readMany(source.names, (name, tensor) => void Object.assign(found, { [name]: Number(tensor.data[0]) }));
  await source.close();
  return found;
}

const shards = (stem: string, end = ''): Record<string, Contents> => ({
  [`${stem}-00001-of-00002${end}.safetensors`]: { a: [1], b: [2] },
  [`${stem}-00002-of-00002${end}.safetensors`]: { c: [3] },
});
const index = (stem: string, end = '') => ({
  metadata: { total_size: 12 },
  weight_map: {
    a: `${stem}-00001-of-00002${end}.safetensors`,
    b: `${stem}-00001-of-00002${end}.safetensors`,
    c: `${stem}-00002-of-00002${end}.safetensors`,
  },
});

describe('which files are opened', () => {
  it('a single file, of either base name', async () => {
    const folder = await folderWith({ 'diffusion_pytorch_model.safetensors': { a: [1] } });
    expect(await contentsOf(folder)).toEqual({ a: 1 });
    const encoder = await folderWith({ 'model.safetensors': { a: [2] } });
    expect(await contentsOf(encoder, { baseName: 'model' })).toEqual({ a: 2 });
    await expect(openWeights(encoder, { baseName: 'diffusion_pytorch_model' })).rejects.toThrow(/has no weights/);
  });

  it('shards behind an index, and the single file where there are both', async () => {
    const sharded = { ...shards('model'), 'model.safetensors.index.json': index('model') };
    expect(await contentsOf(await folderWith(sharded))).toEqual({ a: 1, b: 2, c: 3 });
    const both = await folderWith({ ...sharded, 'model.safetensors': { a: [9] } });
    expect(await contentsOf(both)).toEqual({ a: 9 });
  });

  it.each([
    ['diffusion_pytorch_model.safetensors.index.fp16.json', 'diffusion_pytorch_model.fp16', ''],
    ['diffusion_pytorch_model.safetensors.fp16.index.json', 'diffusion_pytorch_model', '.fp16'],
    ['diffusion_pytorch_model.fp16.safetensors.index.json', 'diffusion_pytorch_model.fp16', ''],
  ])('a variant in shards, as %s', async (indexName, stem, end) => {
    const folder = await folderWith({
      ...shards(stem, end),
      [indexName]: index(stem, end),
      'diffusion_pytorch_model.safetensors': { a: [9] },
    });
    expect(await contentsOf(folder, { variant: 'fp16' })).toEqual({ a: 1, b: 2, c: 3 });
    expect(await contentsOf(folder)).toEqual({ a: 9 });
  });

  it('a variant only where it exists; the plain weights instead only for those who listen', async () => {
    const folder = await folderWith({
      'model.safetensors': { a: [1] },
      'model.bf16.safetensors': { a: [2] },
    });
    expect(await contentsOf(folder, { variant: 'bf16' })).toEqual({ a: 2 });
    await expect(openWeights(folder, { variant: 'fp16' })).rejects.toThrow(
      `${folder}: has no weights of variant "fp16"; set variant to none or "bf16"`,
    );
    const said: string[] = [];
    const options = { variant: 'fp16', onMissingVariant: (message: string) => void said.push(message) };
    expect(await contentsOf(folder, options)).toEqual({ a: 1 });
    expect(said).toEqual([`${folder}: has no 'fp16' weights, opening model.safetensors instead`]);

    const onlyVariant = await folderWith({ 'model.fp16.safetensors': { a: [1] } });
    await expect(openWeights(onlyVariant)).rejects.toThrow('set variant to "fp16"');
  });

  it('says so when there are only pickles, or nothing, or no folder', async () => {
    const pickles = await folderWith({ 'diffusion_pytorch_model.bin': {} });
    await expect(openWeights(pickles)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await expect(openWeights(pickles)).rejects.toThrow(
      /only as diffusion_pytorch_model\.bin; only safetensors are read/,
    );
    await expect(openWeights(await folderWith({}))).rejects.toThrow(
      /has no weights \(expected diffusion_pytorch_model/,
    );
    await expect(openWeights(join(root, 'nowhere'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('finds the variants in a listing', () => {
    const listing = [
      'model.safetensors',
      'model.fp16.safetensors',
      'model.safetensors.index.bf16.json',
      'model.fp32.bin',
    ];
    expect(variantsAmong(listing, 'model')).toEqual([undefined, 'fp16', 'bf16']);
  });
});

describe('an index that does not fit', () => {
  const withIndex = (weightMap: unknown, files: Record<string, Contents> = {}) =>
    folderWith({ ...shards('model'), ...files, 'model.safetensors.index.json': { weight_map: weightMap } as Contents });
  const good = index('model').weight_map;

  it.each([
    ['../model.safetensors'],
    ['/etc/passwd'],
    ['..\\model.safetensors'],
    ['sub/model.safetensors'],
    ['C:model.safetensors'],
    ['model.bin'],
    ['a\0.safetensors'],
    ['.safetensors/..'],
  ])('leads elsewhere: %j', async (shard) => {
    const folder = await withIndex({ ...good, a: shard });
    await expect(openWeights(folder)).rejects.toThrow(
      /index\.json: tensor "a": .* is not the name of a safetensors file/,
    );
  });

  it.each([
    [
      'a shard is missing',
      { ...good, c: 'gone.safetensors' },
      {},
      /names a shard that is not there: .*gone\.safetensors/,
    ],
    ['a tensor is not in its shard', { ...good, d: good.a }, {}, /tensor "d": not in .*00001-of-00002\.safetensors$/],
    [
      'a tensor is in another shard',
      { ...good, c: good.a, b: good.c },
      {},
      /tensor "b": not in .*00002.* but in .*00001/,
    ],
    [
      'two shards hold a tensor',
      { ...good, e: 'x.safetensors' },
      { 'x.safetensors': { a: [1], e: [1] } },
      /"a" is also in/,
    ],
    ['no map', undefined, {}, /no weight_map/],
    ['an empty map', {}, {}, /names no tensors/],
    ['a file that is no string', { a: 3 }, {}, /"a": its file must be a string, not 3/],
  ] as [string, unknown, Record<string, Contents>, RegExp][])('%s', async (_, weightMap, files, message) => {
    const opening = openWeights(await withIndex(weightMap, files));
    await expect(opening).rejects.toMatchObject({ name: 'DejaDitError', code: 'INVALID_FILE' });
    await expect(opening).rejects.toThrow(message);
  });

  it('names a tensor twice, or is not JSON', async () => {
    const folder = await withIndex(good);
    const path = join(folder, 'model.safetensors.index.json');
    await writeFile(path, '{"weight_map": {"a": "model-00001-of-00002.safetensors", "\\u0061": "x.safetensors"}}');
    await expect(openWeights(folder)).rejects.toThrow(`${path}: has the key "a" twice`);
    await writeFile(path, '{"weight_map": {\n');
    await expect(openWeights(folder)).rejects.toThrow(/is not valid JSON/);
    await writeFile(path, '[]');
    await expect(openWeights(folder)).rejects.toThrow(/must hold a JSON object/);
  });

  it('is damaged at random: opens or says why', async () => {
    const folder = await withIndex(good);
    const path = join(folder, 'model.safetensors.index.json');
    const intact = await readFile(path);
    const random = seeded(7);
    let opened = 0;
    for (let i = 0; i < 400; i++) {
      await writeFile(path, damageText(intact, random));
      const source = await openWeights(folder).catch((error: unknown) => error);
      if (source instanceof Error) {
        expect(source).toMatchObject({ name: 'DejaDitError', code: 'INVALID_FILE' });
        expect(source.message).toMatch(/^[^\n]{1,600}$/);
      } else {
        opened++;
        await (source as WeightSource).close();
      }
    }
    expect(opened).toBeGreaterThan(5);
    expect(opened).toBeLessThan(200);
  });
});
