/** Who waits for which read, what stays, and that nothing is left behind when reads fail or the model goes away. */
import { beforeEach, describe, expect, it } from 'vitest';
import { DejaDitError } from '../../errors/errors.ts';
import { createBackend } from '../../runtime/create-backend.ts';
import { floatTensor } from '../../tensor/tensor.ts';
import { memoryWeights, type WeightSource } from '../weight-source.ts';
import { BucketPool } from './bucket-pool.ts';
import { parseOffloadOptions } from './options.ts';
import { planOffload } from './plan.ts';

const backend = await createBackend({ threads: 1 });
const count = 6;
const tensors = Object.fromEntries(
  Array.from({ length: count }, (_, i) => [`blocks.${i}.w`, floatTensor([i, 10 * i])]),
);

/** Reads of blocks, in order; each goes on when `finish` or `fail` says so, or at once. */
let asked: number[];
let held: Map<number, { finish(): void; fail(error: Error): void }>;
let hold: boolean;
beforeEach(() => {
  asked = [];
  held = new Map();
  hold = false;
});

const source: WeightSource = {
  ...memoryWeights(tensors),
  async readInto(name, target) {
    const block = Number(name.split('.')[1]);
    asked.push(block);
    if (hold) await new Promise<void>((finish, fail) => held.set(block, { finish, fail }));
    await memoryWeights(tensors).readInto(name, target);
  },
};

const newPool = (prefetchLimit: number, persistentBuckets = 0) => {
  const config = parseOffloadOptions({ prefetchLimit, persistentBuckets });
  return new BucketPool(source, backend, planOffload(source, { lists: [{ name: 'blocks', count }], config }));
};
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Acquires, checks that the weights are the block's, and releases. */
async function use(pool: BucketPool, block: number): Promise<void> {
  const lease = await pool.acquire(block);
  const { data } = await backend.download(lease.get(`blocks.${block}.w`));
  expect([...data]).toEqual([block, 10 * block]);
  lease.release();
}

describe('reading ahead', () => {
  it('asks for the next blocks before the first is there, and goes round', async () => {
    const pool = newPool(2);
    hold = true;
    const first = use(pool, 0);
    await turn();
    expect(asked).toEqual([0, 1, 2]);
    hold = false;
    for (const { finish } of held.values()) finish();
    await first;
    for (let block = 1; block < count; block++) await use(pool, block);
    expect(asked).toEqual([0, 1, 2, 3, 4, 5, 0, 1]);
    await use(pool, 0);
    expect(asked.slice(8)).toEqual([2]);
    await pool.dispose();
  });

  it('skips what persists, and without a limit reads each block in its turn', async () => {
    const pool = newPool(1, 2);
    await use(pool, 2);
    await use(pool, 5);
    expect(asked).toEqual([2, 3, 5, 2]);
    await turn();
    await use(pool, 2);
    expect(asked).toEqual([2, 3, 5, 2, 3]);
    await pool.dispose();

    asked = [];
    const single = newPool(0);
    for (const block of [0, 1, 1, 0]) await use(single, block);
    expect(asked).toEqual([0, 1, 0]);
    expect([single.bucketsRead, single.bytesRead]).toEqual([3, 24]);
    await single.dispose();
  });

  it('a cached step, which runs the first block only, reads nothing', async () => {
    const pool = newPool(1);
    await use(pool, 0);
    for (let step = 0; step < 5; step++) await use(pool, 0);
    expect(asked).toEqual([0, 1]);
    await pool.dispose();
  });
});

describe('two requests', () => {
  it('take turns in a single buffer', async () => {
    const pool = newPool(0);
    const a = await pool.acquire(0);
    let second = false;
    const b = use(pool, 3).then(() => {
      second = true;
    });
    const c = use(pool, 0);
    await turn();
    expect(second).toBe(false);
    expect([...(await backend.download(a.get('blocks.0.w'))).data]).toEqual([0, 0]);
    a.release();
    await Promise.all([b, c]);
    await pool.dispose();
  });

  it('each get the blocks they ask for, however they interleave', async () => {
    const pool = newPool(1);
    const request = async (offset: number) => {
      for (let step = 0; step < 3; step++) {
        for (let block = 0; block < count; block++) {
          await use(pool, (block + offset) % count);
          if ((block + offset) % 2) await turn();
        }
      }
    };
    await Promise.all([request(0), request(0), request(3)]);
    await pool.dispose();
  });
});

describe('when reads fail', () => {
  it('the error names file and tensor, and the next attempt reads again', async () => {
    const pool = newPool(1);
    hold = true;
    const attempt = pool.acquire(0);
    await turn();
    held.get(0)!.fail(Object.assign(new Error('i/o error'), { code: 'EIO' }));
    await expect(attempt).rejects.toThrow("memory: tensor 'blocks.0.w' cannot be read (EIO)");
    hold = false;
    held.get(1)!.finish();
    await use(pool, 0);
    await use(pool, 1);
    expect(asked).toEqual([0, 1, 0, 2]);
    await pool.dispose();
  });

  it('a read ahead that fails is nobody’s error until its block is needed', async () => {
    const pool = newPool(1);
    await use(pool, 0);
    hold = true;
    const next = pool.acquire(1);
    await turn();
    held.get(2)!.fail(new DejaDitError('INVALID_FILE', 'ends early'));
    // An unhandled rejection would fail the run.
    await turn();
    hold = false;
    (await next).release();
    await use(pool, 2);
    await pool.dispose();
  });
});

it('disposing waits for reads under way, and refuses who still waits', async () => {
  const pool = newPool(0);
  hold = true;
  const first = pool.acquire(0);
  const second = pool.acquire(1);
  second.catch(() => {});
  await turn();
  let gone = false;
  const disposal = pool.dispose().then(() => {
    gone = true;
  });
  await turn();
  expect(gone).toBe(false);
  held.get(0)!.finish();
  await disposal;
  await first;
  await expect(second).rejects.toThrow('disposed while it was running');
  await expect(pool.acquire(0)).rejects.toMatchObject({ code: 'DISPOSED' });
});
