import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromFloat32 } from '../../tensor/convert.ts';
import { type DType, dtypes } from '../../tensor/dtype.ts';
import { floatTensor, Tensor } from '../../tensor/tensor.ts';
import { openSafetensors } from '../weight-source.ts';
import { readSafetensors, readSafetensorsHeader } from './safetensors.ts';
import { safetensorsDTypes } from './safetensors-header.ts';
import { writeSafetensors } from './write-safetensors.ts';

const fixtures = join(import.meta.dirname, '../../../fixtures/weights');
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'safetensors-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('a file written by the Python library', () => {
  type Expected = Record<string, { dtype: string; shape: number[]; values: (number | string)[] }>;
  const file = join(fixtures, 'python.safetensors');
  let expected: Expected;
  beforeAll(async () => {
    expected = JSON.parse(await readFile(join(fixtures, 'python.json'), 'utf8'));
  });

  it('reads every dtype, a scalar, an empty tensor and a difficult name', async () => {
    const tensors = await readSafetensors(file);
    expect(Object.keys(tensors).sort()).toEqual(Object.keys(expected).sort());
    const seen = new Set<DType>();
    for (const [name, { dtype, shape, values }] of Object.entries(expected)) {
      const tensor = tensors[name]!;
      seen.add(tensor.dtype);
      expect(tensor.dtype, name).toBe(safetensorsDTypes[dtype]);
      expect(tensor.shape, name).toEqual(shape);
      if (name.startsWith('int.')) {
        expect(Array.from(tensor.data, String), name).toEqual(values);
      } else if (dtype === 'F64') {
        expect(Array.from(tensor.data as Float64Array), name).toEqual(values);
      } else {
        const floats = Array.from(tensor.float().f32);
        expect(floats, name).toEqual(values.map((value) => Math.fround(Number(value))));
      }
    }
    expect([...seen].sort()).toEqual([...dtypes].sort());
  });

  it('gives every tensor memory of its own', async () => {
    const tensors = Object.values(await readSafetensors(file));
    for (const { data, bytes } of tensors) expect(data.buffer.byteLength).toBe(bytes);
    expect(new Set(tensors.map(({ data }) => data.buffer)).size).toBe(tensors.length);
  });

  it('widens narrow floats and nothing else', async () => {
    const stored = await readSafetensors(file);
    const widened = await readSafetensors(file, { widen: 'float32' });
    for (const [name, tensor] of Object.entries(stored)) {
      const isNarrow = ['float16', 'bfloat16', 'float8_e4m3fn', 'float8_e5m2'].includes(tensor.dtype);
      expect(widened[name], name).toEqual(isNarrow ? tensor.float() : tensor);
    }
  });

  it('gives the header without the data', async () => {
    const { tensors, metadata } = await readSafetensorsHeader(file);
    expect(metadata).toEqual({ format: 'pt', note: 'größe' });
    expect(tensors.get('float.BF16')).toMatchObject({ dtype: 'bfloat16', shape: [2, 4], bytes: 16, file });
    const offsets = [...tensors.values()].map(({ offset }) => offset);
    expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
  });
});

describe('large files', () => {
  /** A safetensors file of the given tensors whose data is a hole in the file system, all zeros but for its last bytes. */
  async function sparseFile(name: string, header: Record<string, unknown>, dataBytes: number, last: Uint8Array) {
    const path = join(folder, name);
    const json = Buffer.from(JSON.stringify(header));
    const prefix = Buffer.alloc(8);
    prefix.writeBigUInt64LE(BigInt(json.length));
    await writeFile(path, Buffer.concat([prefix, json]));
    const size = 8 + json.length + dataBytes;
    await truncate(path, size - last.length);
    await writeFile(path, last, { flag: 'a' });
    return path;
  }

  it('reads past 4 GiB, and says which tensor no array can hold', async () => {
    const big = 5 * 2 ** 30;
    const header = {
      big: { dtype: 'U8', shape: [5, 2 ** 30], data_offsets: [0, big] },
      small: { dtype: 'F32', shape: [2], data_offsets: [big, big + 8] },
    };
    const path = await sparseFile(
      'big.safetensors',
      header,
      big + 8,
      new Uint8Array(new Float32Array([1.5, -2]).buffer),
    );
    const { tensors } = await readSafetensorsHeader(path);
    expect(tensors.get('small')!.offset).toBeGreaterThan(2 ** 32);
    const source = await openSafetensors(path);
    expect((await source.read('small')).data).toEqual(Float32Array.of(1.5, -2));
    await expect(source.read('big')).rejects.toThrow(/"big".*uint8 \[5,1073741824\] is 5\.0 GiB/);
    await source.close();
  });

  it('reads a tensor that takes several reads', async () => {
    const bytes = 2 ** 28 + 16;
    const header = { long: { dtype: 'U8', shape: [bytes], data_offsets: [0, bytes] } };
    const path = await sparseFile('long.safetensors', header, bytes, Uint8Array.of(1, 2, 3));
    const { data } = (await readSafetensors(path))['long']!;
    expect(data.length).toBe(bytes);
    expect(data.slice(-4)).toEqual(Uint8Array.of(0, 1, 2, 3));
  });
});

describe('writeSafetensors', () => {
  const values = Float32Array.from([0, 1, -2.5, 300]);

  it('round-trips every dtype, and metadata', async () => {
    const tensors = Object.fromEntries(
      dtypes.map((dtype, i) => {
        const data = ['float64', 'float16', 'bfloat16', 'float8_e4m3fn', 'float8_e5m2'].includes(dtype)
          ? fromFloat32(dtype, values)
          : intsAs(dtype);
        return [`layer.${i}.${dtype}`, new Tensor(dtype, data, [2, 2])];
      }),
    );
    const path = join(folder, 'all.safetensors');
    await writeSafetensors(path, tensors, { format: 'deja-dit' });
    expect(await readSafetensors(path)).toEqual(tensors);
    expect((await readSafetensorsHeader(path)).metadata).toEqual({ format: 'deja-dit' });
  });

  it('writes a view, not the buffer around it', async () => {
    const path = join(folder, 'view.safetensors');
    const all = Float32Array.from([9, 1, 2, 9]);
    await writeSafetensors(path, { a: floatTensor(all.subarray(1, 3)) });
    expect((await readSafetensors(path))['a']!.data).toEqual(Float32Array.from([1, 2]));
  });

  it('leaves nothing behind when it fails, and the old file as it was', async () => {
    const path = join(folder, 'taken');
    const inside = join(path, 'is-a-folder');
    await writeSafetensors(path, { a: floatTensor(values) });
    const before = await stat(path);
    await expect(writeSafetensors(inside, { a: floatTensor(values) })).rejects.toThrow(
      /cannot be written \((ENOTDIR|EEXIST)\)/,
    );
    await expect(writeSafetensors(folder, { a: floatTensor(values) })).rejects.toThrow(/cannot be written/);
    expect((await stat(path)).mtimeMs).toBe(before.mtimeMs);
    expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    expect((await readdir(join(folder, '..'))).filter((name) => name.startsWith(`${folder}.`))).toEqual([]);
  });

  it('refuses names that mean something else in the format', async () => {
    const path = join(folder, 'names.safetensors');
    for (const name of ['__metadata__', '__proto__']) {
      const tensors = Object.fromEntries([[name, floatTensor(values)]]);
      await expect(writeSafetensors(path, tensors)).rejects.toThrow(`cannot be named "${name}"`);
    }
  });

  function intsAs(dtype: DType) {
    switch (dtype) {
      case 'int64':
        return BigInt64Array.from([0n, 1n, -2n, 300n]);
      case 'uint64':
        return BigUint64Array.from([0n, 1n, 2n, 300n]);
      case 'float32':
        return values;
      default:
        return new Tensor(dtype, new arrays[dtype as keyof typeof arrays]([0, 1, 2, 100]), [4]).data;
    }
  }
});

const arrays = {
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint32: Uint32Array,
  uint16: Uint16Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};
