/** What the command line says and reads: flags instead of option names, numbers in one way. */
import { describe, expect, it } from 'vitest';
import { DejaDitError } from '../errors/errors.ts';
import { firstOf, sweepPrompts } from '../lab/prompts.ts';
import { inFlags } from './flags/flag-names.ts';
import { byteSize, integer, number, size } from './flags/numbers.ts';
import { bytes, clock } from './output/format.ts';
import { ProgressBar } from './output/progress.ts';

it.each([
  ['numInferenceSteps: expected an integer from 1', '--steps: expected an integer from 1'],
  ['width: expected a multiple of 16', '--size: expected a multiple of 16'],
  ['strength has no effect without image', '--strength has no effect without image'],
  ['cacheConfig.errorBudget: must be positive', '--error-budget: must be positive'],
  ['the image is of another seed', 'the image is of another seed'],
])('%s', (message, expected) => expect(inFlags(message)).toBe(expected));

describe('numbers', () => {
  it.each(['', ' ', '1.5', 'many', '0x', '-1', 'Infinity'])('%j is no count', (text) => {
    expect(() => integer({ min: 1 })(text)).toThrow('It must be an integer from 1.');
  });
  it.each(['', '0', '-1GiB', 'lots', '4TB'])('%j is no size', (text) => {
    expect(() => byteSize(text)).toThrow('It must be bytes, as 512MiB or 4GiB.');
  });
  it('are read', () => {
    expect([byteSize('512MiB'), byteSize('1.5 GB'), byteSize('1024')]).toEqual([2 ** 29, 1.5e9, 1024]);
    expect([integer()('-3'), number()('1e-3'), size('768x512')]).toEqual([-3, 0.001, { width: 768, height: 512 }]);
    expect(() => number({ min: 0, max: 1 })('2')).toThrow('It must be a number from 0 to 1.');
  });
});

it.each([0, -1, 25])('%i of the built-in prompts are refused', (count) => {
  expect(() => firstOf(sweepPrompts, count)).toThrow(DejaDitError);
});

it('progress: the clock starts with the work, downloads count bytes, dumb terminals see nothing', () => {
  let written = '';
  const out = {
    isTTY: true,
    columns: 120,
    write: (text: string) => {
      written += text;
    },
  } as unknown as NodeJS.WriteStream;
  const term = process.env['TERM'];
  try {
    process.env['TERM'] = 'xterm';
    new ProgressBar('generating', 4, { start: performance.now() - 10_000, out }).update(1);
    expect(written).toMatch(/1\/4 0\.10 it\/s, ETA 0:30/);
    written = '';
    new ProgressBar('downloading', 3e9, { start: performance.now() - 10_000, from: 1e9, show: bytes, out }).update(
      2e9,
      'model',
    );
    expect(written).toMatch(/2\.00 GB\/3\.00 GB 100\.0 MB\/s, ETA 0:10 model/);
    written = '';
    process.env['TERM'] = 'dumb';
    new ProgressBar('generating', 4, { out }).update(1);
    expect(written).toBe('');
  } finally {
    process.env['TERM'] = term;
  }
  expect(clock(7325)).toBe('2:02:05');
});
