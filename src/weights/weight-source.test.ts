import { createHash } from 'node:crypto';
import { mkdtemp, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromFloat32 } from '../tensor/convert.ts';
import { floatTensor, intTensor, Tensor } from '../tensor/tensor.ts';
import { writeSafetensors } from './safetensors/write-safetensors.ts';
import { memoryWeights, openSafetensors, type WeightSource } from './weight-source.ts';

const values = (n: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(i + 1));
// The large ones exceed one grouped read, so that both ways of reading and the switch between them are used.
const tensors = {
  bias: floatTensor(values(3)),
  large: floatTensor(values(1 << 20), [1 << 10, 1 << 10]),
  half: new Tensor('bfloat16', fromFloat32('bfloat16', values(2_500_001)), [2_500_001]),
  odd: new Tensor('uint8', Uint8Array.of(1, 2, 3), [3]),
  eight: new Tensor('float8_e4m3fn', fromFloat32('float8_e4m3fn', values(5)), [5]),
  ids: intTensor([7, 8]),
};
/** Millions of elements are compared by their hash: element by element would take the test runner minutes. */
const digest = ({ dtype, shape, data }: Tensor) =>
  `${dtype} [${shape}] ${createHash('sha1')
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest('hex')}`;
const digests = (record: Record<string, Tensor>) =>
  Object.fromEntries(Object.entries(record).map(([name, tensor]) => [name, digest(tensor)]));
const names = Object.keys(tensors) as (keyof typeof tensors)[];

let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weights-'));
  file = join(folder, 'model.safetensors');
  await writeSafetensors(file, tensors);
});
afterAll(() => rm(folder, { recursive: true }));

const kinds: [string, () => Promise<WeightSource>][] = [
  ['one file', () => openSafetensors(file)],
  [
    'two files',
    async () => {
      const { large, half, ...rest } = tensors;
      const paths = [join(folder, 'a.safetensors'), join(folder, 'b.safetensors')] as const;
      await writeSafetensors(paths[0], { large, half });
      await writeSafetensors(paths[1], rest);
      return openSafetensors(paths);
    },
  ],
  ['memory', async () => memoryWeights(tensors)],
];

describe.each(kinds)('weights from %s', (_, open) => {
  let source: WeightSource;
  beforeAll(async () => {
    source = await open();
  });
  afterAll(() => source.close());

  it('lists what there is', () => {
    expect([...source.names].sort()).toEqual([...names].sort());
    expect(source.has('bias')).toBe(true);
    expect(source.has('toString')).toBe(false);
    expect(source.info('large')).toMatchObject({ dtype: 'float32', shape: [1024, 1024], bytes: 4 << 20 });
  });

  it('reads one tensor', async () => {
    for (const name of names) {
      expect(digest(await source.read(name)), name).toBe(digest(tensors[name]));
    }
  });

  it('streams every tensor once, each in memory of its own', async () => {
    const seen = new Map<string, Tensor>();
    await source.readMany([...names, 'bias'], (name, tensor) => void seen.set(name, tensor));
    expect(digests(Object.fromEntries(seen))).toEqual(digests(tensors));
    for (const { data, bytes } of seen.values()) expect(data.buffer.byteLength).toBe(bytes);
    const again = await source.read('bias');
    again.f32.fill(0);
    expect(await source.read('bias')).toEqual(tensors.bias);
  });

  it('widens narrow floats', async () => {
    const seen: Record<string, Tensor> = {};
    await source.readMany(names, (name, tensor) => void Object.assign(seen, { [name]: tensor }), { widen: 'float32' });
    const expected = { ...tensors, half: tensors.half.float(), eight: tensors.eight.float() };
    expect(digests(seen)).toEqual(digests(expected));
  });

  it('waits for the receiver, and reports bytes up to the total', async () => {
    let inside = 0;
    const reports: number[] = [];
    const total = names.reduce((sum, name) => sum + tensors[name].bytes, 0);
    const receive = async () => {
      expect(++inside).toBe(1);
      await new Promise((resolve) => setImmediate(resolve));
      inside--;
    };
    await source.readMany(names, receive, {
      onProgress({ bytes, totalBytes }) {
        expect(totalBytes).toBe(total);
        reports.push(bytes);
      },
    });
    expect(reports).toHaveLength(names.length);
    expect(reports.at(-1)).toBe(total);
    expect(reports).toEqual(reports.toSorted((a, b) => a - b));
  });

  it('names a missing tensor before it reads any', async () => {
    const seen: string[] = [];
    const reading = source.readMany(['large', 'biass'], (name) => void seen.push(name));
    await expect(reading).rejects.toThrow(/no tensor "biass", nearest is "bias"/);
    await expect(source.read('__proto__')).rejects.toMatchObject({ code: 'MISSING_WEIGHT' });
    expect(seen).toEqual([]);
  });

  it('stops at an abort', async () => {
    const stop = new AbortController();
    const seen: string[] = [];
    const receive = (name: string) => {
      seen.push(name);
      stop.abort();
    };
    const reading = source.readMany(names, receive, { signal: stop.signal });
    await expect(reading).rejects.toMatchObject({ code: 'ABORTED' });
    expect(seen.length).toBeLessThan(names.length);
  });
});

describe('files that go wrong', () => {
  it('names the file that was cut after it was opened, and the one that was closed', async () => {
    const path = join(folder, 'cut.safetensors');
    await writeSafetensors(path, tensors);
    const source = await openSafetensors(path);
    await truncate(path, 5000);
    await expect(source.read('large')).rejects.toMatchObject({ code: 'INVALID_FILE', path });
    await source.close();
    await source.close();
    await expect(source.read('bias')).rejects.toMatchObject({ code: 'DISPOSED', path });
  });

  it('refuses a tensor that two files have', async () => {
    const other = join(folder, 'other.safetensors');
    await writeSafetensors(other, { bias: tensors.bias });
    await expect(openSafetensors([file, other])).rejects.toThrow(`${other}: tensor "bias" is also in ${file}`);
  });
});
