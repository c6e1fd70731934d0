/**
 * In their short form: the scripts in `lifecycle/`, busy processes that end, which run `dist/`; and `bench/soak`, a process used for
 * long.
 */
import { describe, expect, it } from 'vitest';
import { type SoakPoint, soak } from '../bench/soak/requests.js';
import { bundledModel, createBackend, DiffusionPipeline, ProgramCache, setWarningHandler } from '../src/index.ts';
import { run } from './lifecycle/repeat.js';

describe('a process whose worker computes', () => {
  it.each([
    ['exit', 7, 150],
    ['exit', 7, 600],
    ['throw', 1, 400],
  ])('ends with its own code: %s', (how, code, delay) => {
    expect(run(how, 'worker', 1, delay).end).toBe(code);
  });

  it('outlives the end of the thread', () => {
    expect(run('terminate', 'worker', 3)).toEqual({ end: 0, output: '{"RUNTIME":3}' });
  });
});

describe('disposed during requests, each ends, as DISPOSED', () => {
  it.each([
    ['dispose', 'worker'],
    ['dispose', 'cpu'],
    ['dispose', 'wasm'],
    ['pipeline', 'worker'],
  ])('%s on %s', (how, backend) => {
    expect(run(how, backend, 4)).toEqual({ end: 0, output: '{"DISPOSED":4}' });
  });
});

it('used for long, a process holds its weights and the programs that fit in their limit', async () => {
  const restore = setWarningHandler(() => {});
  const [requests, sizes, maxBytes] = [35, 9, 2 ** 26];
  await using backend = await createBackend({ threads: 1 });
  const points: SoakPoint[] = [];
  const { ends, stats } = await soak({
    DiffusionPipeline,
    ProgramCache,
    backend,
    model: bundledModel(),
    requests,
    sizes,
    maxBytes,
    onPoint: (point) => points.push(point),
  }).finally(() => setWarningHandler(restore));
  expect(points).toHaveLength(requests + sizes);
  expect(ends).toMatchObject({ finished: 30 + sizes, aborted: 5 });
  expect(ends.reused, 'or no cache was at work').toBeGreaterThan(0);
  expect(stats.evicted, 'or the limit was not met').toBeGreaterThan(0);
  expect(points.filter(({ handles }) => handles > 0)).toEqual([]);
  // One program is kept whatever it takes.
  expect(points.filter(({ programs, programBytes }) => programs > 1 && programBytes > maxBytes)).toEqual([]);
  expect(backend.live).toEqual({ tensors: 0, bytes: 0, programs: 0 });
});
