/** GGUF: every type of block against the Python package `gguf`, what is held against what is decoded, and files made to break a reader. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fixtures } from '../../models/testing/golden.ts';
import { decode } from '../../quantize/formats/encode.ts';
import { readSafetensors } from '../safetensors/safetensors.ts';
import { fileSource, type WeightSource } from '../weight-source.ts';
import { openWithGgufHeader } from './gguf-header.ts';
import { withGgufBlocks } from './gguf-weights.ts';
import { ggufFile, ggufText, uint32, uint64 } from './testing/gguf-file.ts';

let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'deja-dit-gguf-'));
  file = path.join(folder, 'model.gguf');
});
afterAll(() => rm(folder, { recursive: true }));

async function open(name: string): Promise<WeightSource> {
  const { file: opened, header } = await openWithGgufHeader(name);
  return withGgufBlocks(fileSource(new Map([[name, opened]]), header.tensors));
}

const recorded = await Promise.all(
  [
    ['gguf-flux', 'q8_0'],
    ['gguf-flux-64', 'mixed'],
    ['gguf-flux-64', 'q2_iq4'],
  ].map(async ([name, stem]) => {
    const tensors = await readSafetensors(path.join(fixtures, 'single-file', name!, 'io.safetensors'));
    const start = `${stem}.dequant.`;
    const names = Object.keys(tensors).filter((key) => key.startsWith(start));
    return names.map((key) => ({
      path: path.join(fixtures, 'single-file', name!, `${stem}.gguf`),
      name: key.slice(start.length),
      expected: tensors[key]!,
    }));
  }),
);

describe.each(recorded.flat())('$name of $path', ({ path: name, name: tensor, expected }) => {
  let source: WeightSource;
  beforeAll(async () => {
    source = await open(name);
  });
  afterAll(() => source.close());

  it('is what the package gguf reads', async () => {
    const { data, shape } = await source.read(tensor, { widen: 'float32' });
    // Of large matrices the first rows are recorded.
    expect(shape.slice(1)).toEqual(expected.shape.slice(1));
    const largest = Math.max(...expected.f32.map(Math.abs));
    const difference = Math.max(...expected.f32.map((x, i) => Math.abs(x - Number(data[i]))));
    // Both add in single precision, in another order.
    expect(difference / largest).toBeLessThan(3e-7);
  });

  it('is held as what it is read as', async () => {
    const held = source.stored!.hold(new Set([tensor]));
    const layer = held.quantized?.get(tensor);
    // Half precision is no format of its own.
    if (!layer) return expect(source.info(tensor).dtype).toMatch(/float/);
    const { format } = layer;
    const parts = Object.fromEntries(
      await Promise.all(
        held.names
          .filter((part) => part.startsWith(`${tensor}.`))
          .map(async (part) => [part.slice(tensor.length + 1), await held.read(part)] as const),
      ),
    );
    const products = { times: () => Promise.reject(), transposedTimes: () => Promise.reject() };
    const { data } = await decode(parts, format, { columns: expected.dim(1), products });
    // Zeros may have a sign.
    expect(data.map((x) => x + 0)).toEqual((await source.read(tensor)).float().f32.map((x) => x + 0));
    const [name] = held.names.filter((part) => part.startsWith(`${tensor}.codes`));
    const bytes = new Uint8Array(held.info(name!).bytes);
    await held.readInto(name!, bytes);
    expect(bytes).toEqual(new Uint8Array(parts['codes']!.data.buffer));
  });
});

it('knows every type of block there is', () => {
  const files = new Set(recorded.flat().map(({ name, path: of }) => `${of} ${name}`));
  expect(files.size).toBe(16);
});

it('takes the shape that ComfyUI has folded, passes over what it does not need', async () => {
  const shape = Buffer.concat([uint32(5), uint64(3), uint32(2), uint32(4), uint32(8)]);
  const vocabulary = Buffer.concat([uint32(8), uint64(100), ...Array.from({ length: 100 }, () => ggufText('token'))]);
  await writeFile(
    file,
    ggufFile({
      metadata: [
        ['general.architecture', 8, ggufText('flux')],
        ['comfy.gguf.orig_shape.patch.weight', 9, shape],
        ['tokenizer.ggml.tokens', 9, vocabulary],
      ],
      tensors: [
        { name: 'patch.weight', sizes: [64], type: 8, data: new Uint8Array(68) },
        { name: 'bias', sizes: [2], type: 30, data: Uint8Array.of(0x80, 0x3f, 0, 0x40) },
      ],
    }),
  );
  const source = await open(file);
  expect(source.info('patch.weight')).toMatchObject({ dtype: 'float32', shape: [2, 4, 8], bytes: 256 });
  expect((await source.read('bias', { widen: 'float32' })).data).toEqual(Float32Array.of(1, 2));
  await source.close();
});

const tensor = { name: 'w', sizes: [32], type: 8, data: new Uint8Array(34) };
const list = (type: number, length: number | bigint, ...items: Uint8Array[]) =>
  Buffer.concat([uint32(type), uint64(length), ...items]);
const nested = (depth: number): Buffer => (depth === 0 ? list(0, 0) : list(9, 1, nested(depth - 1)));

it.each<[string, Buffer, string | RegExp]>([
  ['nothing', Buffer.alloc(0), 'ends inside its header'],
  ['another file', ggufFile({ magic: 'GGML' }), 'does not begin with GGUF'],
  ['version 1', ggufFile({ version: 1 }), 'is GGUF of version 1; 2 and 3 are read'],
  ['a count of tensors past any file', ggufFile({ tensorCount: 2n ** 40n }), 'claims 1099511627776 tensors'],
  ['a count past all numbers', ggufFile({ tensorCount: 2n ** 64n - 1n }), 'claims a size of 18446744073709551615'],
  ['a count of entries past any file', ggufFile({ entryCount: 2n ** 30n }), 'entries of metadata'],
  ['a count of entries past the header', ggufFile({ entryCount: 2n, tensors: [tensor] }), 'claims a size of'],
  ['a text past the end', ggufFile({ metadata: [['a', 8, uint64(1_000_000)]] }), 'ends inside its header'],
  ['a text of 4 GB', ggufFile({ metadata: [['a', 8, uint64(2n ** 32n)]] }), 'claims a text of 4294967296 bytes'],
  [
    'a name that is not UTF-8',
    ggufFile({ metadata: [['a', 8, Buffer.concat([uint64(1), Buffer.from([0xff])])]] }),
    'not UTF-8',
  ],
  ['an unknown type of metadata', ggufFile({ metadata: [['a', 77, uint64(1)]] }), 'unknown type 77'],
  ['a list of unknown types', ggufFile({ metadata: [['a', 9, list(13, 1)]] }), 'unknown type 13'],
  ['a list past the end', ggufFile({ metadata: [['a', 9, list(4, 2n ** 50n)]] }), 'ends inside its header'],
  ['texts past the end', ggufFile({ metadata: [['a', 9, list(8, 2n ** 50n)]] }), 'ends inside its header'],
  ['lists in lists', ggufFile({ metadata: [['a', 9, nested(20)]] }), 'lists in lists'],
  ['an alignment of nothing', ggufFile({ metadata: [['general.alignment', 4, uint32(0)]] }), 'general.alignment is 0'],
  ['a part of a model', ggufFile({ metadata: [['split.count', 2, Uint8Array.of(3, 0)]] }), 'is one of several files'],
  ['a tensor past the end', ggufFile({ tensors: [{ ...tensor, offset: 64n }] }), 'truncated or damaged'],
  ['a tensor at no place', ggufFile({ tensors: [{ ...tensor, offset: 2n ** 63n }] }), 'claims a size of'],
  ['tensors over each other', ggufFile({ tensors: [tensor, { ...tensor, name: 'v', offset: 0n }] }), 'overlaps tensor'],
  ['a tensor twice', ggufFile({ tensors: [tensor, tensor] }), 'has tensor "w" twice'],
  ['a tensor of a hundred axes', ggufFile({ tensors: [{ ...tensor, sizes: Array(100).fill(1) }] }), 'has 100 axes'],
  ['a tensor of half a block', ggufFile({ tensors: [{ ...tensor, sizes: [16] }] }), 'not made of blocks of 32 numbers'],
  ['a tensor without numbers', ggufFile({ tensors: [{ ...tensor, sizes: [0] }] }), 'not made of blocks'],
  ['sizes past all numbers', ggufFile({ tensors: [{ ...tensor, sizes: [2 ** 40, 2 ** 40] }] }), 'has the shape'],
  [
    'a type that is not read',
    ggufFile({ tensors: [{ ...tensor, type: 16 }] }),
    'is of the type IQ2_XXS, which is not read',
  ],
  ['a type that is not known', ggufFile({ tensors: [{ ...tensor, type: 999 }] }), 'is of the type number 999'],
  ['a name with a meaning', ggufFile({ tensors: [{ ...tensor, name: '__proto__' }] }), 'cannot be named'],
])('refuses %s', async (_, bytes, message) => {
  await writeFile(file, bytes);
  await expect(openWithGgufHeader(file)).rejects.toThrow(message);
});
