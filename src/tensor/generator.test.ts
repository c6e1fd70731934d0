import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { readSafetensors } from '../weights/safetensors/safetensors.ts';
import { Generator, type RandomDType } from './generator.ts';
import type { Tensor } from './tensor.ts';

const golden = await readSafetensors('fixtures/rng/golden.safetensors');
const dtypes: Record<string, RandomDType> = { f32: 'float32', f64: 'float64', bf16: 'bfloat16', f16: 'float16' };

/** Draws what a golden name such as `randn.bf16.seed42.n17` describes. */
function draw(name: string): Tensor {
  const [kind, dtypeName, seedName] = name.replace('randperm.', 'randperm.i64.').split('.');
  const generator = new Generator(Number(seedName?.slice('seed'.length)));
  const shape = name
    .replace(/^.*\.(n|shape)/, '')
    .split('x')
    .map(Number);
  const dtype = dtypes[dtypeName!]!;
  if (kind === 'randn') return generator.randn(shape, dtype);
  if (kind === 'rand') return generator.rand(shape, dtype);
  if (kind === 'randint') return generator.randint({ high: 100, shape });
  if (kind === 'randperm') return generator.randperm(shape[0]!);
  throw new Error(`no such kind of draw: ${name}`);
}

describe('Generator against PyTorch', () => {
  const single = Object.keys(golden).filter((name) => !name.includes('.seq') && !name.startsWith('random_'));

  it.each(single.filter((name) => !name.startsWith('randn.f64')))('%s, every bit', (name) => {
    const drawn = draw(name);
    expect(drawn.dtype).toBe(golden[name]!.dtype);
    expect(drawn.shape).toEqual(golden[name]!.shape);
    expect(drawn.data).toEqual(golden[name]!.data);
  });

  // Double precision logarithms and cosines of two libraries may differ in the last bit.
  it.each(single.filter((name) => name.startsWith('randn.f64')))('%s, to a few units in the last place', (name) => {
    const drawn = draw(name).data as Float64Array;
    const worst = Math.max(...drawn.map((value, i) => Math.abs(value / (golden[name]!.data[i] as number) - 1)));
    expect(worst).toBeLessThan(4 * Number.EPSILON);
  });

  it.each([0, 42, 1234567])('keeps the spare normal between calls (seed %i)', (seed) => {
    const check = (sequence: string, sizes: number[]) => {
      const generator = new Generator(seed);
      for (const [i, size] of sizes.entries()) {
        const name = `randn.f32.seed${seed}.${sequence}.${'abcde'[i]}`;
        expect(generator.randn([size]).data, name).toEqual(golden[name]!.data);
      }
    };
    check('seq15_15_3_16_5', [15, 15, 3, 16, 5]);
    check('seq17_17', [17, 17]);
  });

  // First 16 digits of the SHA-256 of 100003 values' bytes, seed 7.
  it.each([
    ['randn', 'float32', '5eb5e92227a3e308'],
    ['randn', 'bfloat16', '7d2fa143be0c578c'],
    ['randn', 'float16', 'fa9b41741f31256f'],
    ['rand', 'float32', '377b2523218e8f3c'],
    ['rand', 'bfloat16', '001f090fb9c06b62'],
    ['rand', 'float16', '69cb7e10993a53e4'],
  ] as [
    'randn' | 'rand',
    RandomDType,
    string,
  ][])('%s in %s has the same bytes over a long draw', (kind, dtype, hash) => {
    const { data } = new Generator(7)[kind]([100003], dtype);
    expect(createHash('sha256').update(data).digest('hex').slice(0, 16)).toBe(hash);
  });

  it('draws wider words for wide ranges of integers', () => {
    const draw = (low: number, high: number) => [...new Generator(7).randint({ low, high, shape: [3] }).data];
    expect(draw(10, 2 ** 28 + 9)).toEqual([59306170n, 171107537n, 128500271n]);
    expect(draw(10, 2 ** 28 + 10)).toEqual([171107534n, 27798016n, 174903517n]);
    expect(draw(-5, 2 ** 40)).toEqual([752589289487n, 108678733351n, 291927467744n]);
  });

  it('takes the low 32 bits of any integer as the seed', () => {
    const first = (seed: number | bigint) => new Generator(seed).rand([1]).data[0];
    expect(first(-1)).toBe(Math.fround(0.9937993884086609));
    expect(first(2 ** 32 + 5)).toBe(first(5));
    expect(first(2n ** 63n + 5n)).toBe(first(5));
    expect(() => new Generator(0.5)).toThrow('seed must be an integer, got 0.5');
  });

  it('refuses what cannot be drawn', () => {
    const generator = new Generator(0);
    expect(() => generator.randint({ low: 3, high: 3, shape: [1] })).toThrow('low < high, got low 3 and high 3');
    expect(() => generator.randperm(-1)).toThrow('randperm needs an integer');
    expect(() => generator.randn([2, -1])).toThrow('non-negative');
    expect(() => generator.randn([2], 'int8' as RandomDType)).toThrow('cannot round float32 to int8');
  });
});
