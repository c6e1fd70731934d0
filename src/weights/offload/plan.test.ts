/** Which blocks stay in memory, which are read together, and which options are refused. */
import { describe, expect, it } from 'vitest';
import { floatTensor, Tensor } from '../../tensor/tensor.ts';
import { memoryWeights } from '../weight-source.ts';
import { type OffloadOptions, parseOffloadOptions } from './options.ts';
import { persistentIndices, planOffload, repeatedModules } from './plan.ts';

/** Blocks of 40 bytes, in a buffer 96: a matrix of 8 numbers, and after a gap a bias of 2. */
function source(lists: Record<string, number>) {
  const tensors: Record<string, Tensor> = { 'embed.weight': floatTensor([1]) };
  for (const [name, count] of Object.entries(lists)) {
    for (let i = 0; i < count; i++) {
      tensors[`${name}.${i}.weight`] = floatTensor(Array(8).fill(i), [4, 2]);
      tensors[`${name}.${i}.bias`] = floatTensor([i, i]);
    }
  }
  return memoryWeights(tensors);
}

const plan = (options: OffloadOptions, lists: Record<string, number> = { blocks: 5, 'single.blocks': 3 }) =>
  planOffload(source(lists), {
    lists: Object.entries(lists).map(([name, count]) => ({ name, count })),
    config: parseOffloadOptions(options),
  });

describe('buckets', () => {
  it('hold a block each, and what is outside of blocks belongs to none', () => {
    const { targets, buckets, bucketOf, bufferBytes, buffers } = plan({});
    expect([targets, buckets.length, bufferBytes, buffers]).toEqual([8, 8, 72, 2]);
    expect(buckets[6]!.tensors.map(({ name, offset }) => [name, offset])).toEqual([
      ['single.blocks.1.weight', 0],
      ['single.blocks.1.bias', 64],
    ]);
    expect(buckets[6]!.storedBytes).toBe(40);
    const names = [
      'blocks.4.weight',
      'single.blocks.0',
      'blocks.5.weight',
      'embed.weight',
      'blocks',
      'blocksy.1.weight',
    ];
    expect(names.map(bucketOf)).toEqual([4, 5, undefined, undefined, undefined, undefined]);
  });

  it('of several blocks end where a list does', () => {
    const { buckets, bucketOf } = plan({ transferBuckets: 2 });
    expect(buckets.map(({ storedBytes }) => storedBytes / 40)).toEqual([2, 2, 1, 2, 1]);
    expect(['blocks.3.bias', 'blocks.4.bias', 'single.blocks.1.bias'].map(bucketOf)).toEqual([1, 2, 3]);
  });

  it('that persist are spread over the bins as cache-dit does', () => {
    const found = [...persistentIndices({ count: 32, persistent: 16, bins: 4 })];
    expect(found).toEqual([0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27]);
    const { buckets } = plan({ persistentBuckets: 2, persistentBins: 2 });
    expect(buckets.flatMap(({ persistent }, i) => (persistent ? [i] : []))).toEqual([0, 4]);
    expect(buckets[4]!.tensors).toEqual([]);
  });

  it('as many persist as asked for, however they divide', () => {
    for (let count = 1; count <= 12; count++) {
      for (let persistent = 1; persistent <= count; persistent++) {
        for (let bins = 1; bins <= persistent; bins++) {
          const found = [...persistentIndices({ count, persistent, bins })];
          expect(found.length, `${persistent} of ${count} in ${bins}`).toBe(persistent);
          expect(found.at(-1)).toBeLessThan(count);
          expect(found.at(-1)).toBeGreaterThanOrEqual(Math.floor(((bins - 1) * count) / bins));
        }
      }
    }
  });
});

describe('what is read ahead', () => {
  it.each([
    [{ prefetchLimit: 0 }, 1],
    [{ prefetchLimit: 3 }, 4],
    [{ maxInflightPrefetchBytes: 150 }, 3],
    [{ maxInflightPrefetchBytes: '0.2 KiB' }, 3],
    [{ maxInflightPrefetchBytes: '1GiB' }, 7],
    [{ max_inflight_prefetch_bytes: '80B', prefetch_limit: 4 }, 2],
    [{ transferBuckets: 3, persistentBuckets: 1 }, 1],
  ])('%j: %d buffers', (options, buffers) => {
    expect(plan(options).buffers).toBe(buffers);
  });
});

it('buffers never take more than the weights would', () => {
  // A block list of few large blocks and many small ones: three buffers of the largest would hold them all.
  const tensors: Record<string, Tensor> = {};
  for (let i = 0; i < 2; i++) tensors[`blocks.${i}.w`] = floatTensor(Array(64).fill(0));
  for (let i = 0; i < 4; i++) tensors[`single.${i}.w`] = floatTensor(Array(16).fill(0));
  const lists = [
    { name: 'blocks', count: 2 },
    { name: 'single', count: 4 },
  ];
  const config = parseOffloadOptions({ maxInflightPrefetchBytes: '1GB' });
  expect(planOffload(memoryWeights(tensors), { lists, config }).buffers).toBe(2);
});

describe('options that are wrong or can have no effect', () => {
  it.each<[OffloadOptions, string]>([
    [{ persistentBuckets: 8 }, 'layerwiseOffload.persistentBuckets: 8 of 8 buckets'],
    [{ persistentBuckets: 9 }, 'layerwiseOffload.persistentBuckets: 9 of 8 buckets'],
    [{ persistentBuckets: 2, persistentBins: 3 }, 'layerwiseOffload.persistentBins: 3 bins need as many'],
    [{ persistentBins: 2 }, 'layerwiseOffload.persistentBins: 2 bins need as many'],
    [{ persistentBuckets: 7 }, 'layerwiseOffload: one buffer would hold all'],
    [{ transferBuckets: 6 }, 'layerwiseOffload.transferBuckets: 6 blocks at a time, the model has 5 in a row'],
    [
      { prefetchLimit: 7 },
      'layerwiseOffload.prefetchLimit: 8 buffers of 72 bytes would hold all that is to be read from files; at most 6',
    ],
    [
      { maxInflightPrefetchBytes: 71 },
      'layerwiseOffload.maxInflightPrefetchBytes: 71 bytes hold no bucket, the largest has 72',
    ],
    [
      { maxInflightPrefetchBytes: '4 GB', prefetchLimit: 0 },
      'maxInflightPrefetchBytes: has no effect with prefetchLimit 0',
    ],
    [{ maxInflightPrefetchBytes: 'much' }, "maxInflightPrefetchBytes: must be bytes, or a text such as '512MiB'"],
    [{ maxInflightPrefetchBytes: 0 }, 'maxInflightPrefetchBytes: must be bytes'],
    [{ transferBuckets: 0.5 }, 'layerwiseOffload.transferBuckets: '],
    [{ prefetch: 1 }, 'layerwiseOffload: unknown key "prefetch"'],
  ])('%j', (options, message) => {
    expect(() => plan(options)).toThrow(message);
  });

  it('but not a float8 tensor, which is held as it is stored', () => {
    const tensors = {
      'blocks.0.w': new Tensor('float8_e4m3fn', new Uint8Array(2), [2]),
      'blocks.1.w': floatTensor([1]),
    };
    const args = { lists: [{ name: 'blocks', count: 2 }], config: parseOffloadOptions({}) };
    expect(planOffload(memoryWeights(tensors), args).buckets.map(({ bytes }) => bytes)).toEqual([2, 4]);
  });
});

it('finds repeated modules by name: the outermost numbers, without gaps', () => {
  const names = [
    'shared.weight',
    'h.0.a.0.weight',
    'h.0.a.1.weight',
    'h.1.a.0.weight',
    'once.0.weight',
    'gap.0.w',
    'gap.2000000000.w',
  ];
  expect(repeatedModules(names)).toEqual([{ name: 'h', count: 2 }]);
});
