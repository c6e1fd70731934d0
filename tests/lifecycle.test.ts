/** The scripts in `lifecycle/`, in their short form: busy processes that end, and a process used for long. Run `dist/`. */
import { describe, expect, it } from 'vitest';
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
