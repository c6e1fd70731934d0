import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { alsoCalled, givenOptions, integer, isSpellingOf, readOptions, real, underOurNames } from './options.ts';

const fields = {
  firstBlocks: alsoCalled(integer({ min: 1, max: 9 }), 'Fn'),
  threshold: real({ min: 0 }),
  policy: z.enum(['dynamic', 'static']),
  blocks: z.array(integer({ min: 0 })),
};
const given = (options: unknown) => givenOptions(fields, options, 'config');

describe('givenOptions', () => {
  it('takes a name in any spelling, its other words, and null for the default', () => {
    const expected = { firstBlocks: 2, threshold: 0.1 };
    expect(given({ first_blocks: 2, Threshold: 0.1 })).toEqual(expected);
    expect(given({ fn: 2, threshold: 0.1, policy: null, blocks: undefined })).toEqual(expected);
    expect(given({ Fn: 2, firstBlocks: null })).toEqual({ firstBlocks: 2 });
    expect(given({ Fn: null, firstBlocks: 2 })).toEqual({ firstBlocks: 2 });
  });

  it.each([
    [[], 'config: must be an object of options, got []'],
    [{ treshold: 1 }, 'config: unknown key "treshold"; did you mean threshold? known: firstBlocks, Fn, threshold'],
    [{ Fn: 1, first_blocks: 1 }, 'config.firstBlocks: is given twice, the second time as first_blocks'],
    [{ Fn: 0 }, 'config.firstBlocks: must be an integer from 1 to 9, got 0'],
    [{ Fn: 1.5 }, 'config.firstBlocks: must be an integer from 1 to 9, got 1.5'],
    [{ Fn: '1' }, 'config.firstBlocks: must be an integer from 1 to 9, got "1"'],
    [{ threshold: Number.NaN }, 'config.threshold: must be a number of at least 0, got NaN'],
    [{ threshold: Number.POSITIVE_INFINITY }, 'config.threshold: must be a number of at least 0, got Infinity'],
    [{ policy: 'fixed' }, 'config.policy: must be one of "dynamic", "static", got "fixed"'],
    [{ blocks: 3 }, 'config.blocks: must be a list, got 3'],
    [{ blocks: [1, -1] }, 'config.blocks[1]: must be an integer of at least 0, got -1'],
  ])('refuses %j', (options, message) => {
    expect(() => given(options)).toThrow(message);
  });
});

it('readOptions fills in defaults, and says what is missing', () => {
  const shape = { name: z.string(), count: z.int().min(1).default(3) };
  expect(readOptions(shape, { Name: 'a', count: null }, 'x')).toEqual({ name: 'a', count: 3 });
  expect(() => readOptions(shape, {}, 'x')).toThrow(/^x\.name: is required$/);
  expect(() => readOptions(shape, { name: 'a', count: 0 }, 'x')).toThrow('x.count: must be at least 1, got 0');
});

it('underOurNames keeps null, which may mean something', () => {
  expect(underOurNames(fields, { fn: null, Policy: 7 }, 'x')).toEqual({ firstBlocks: null, policy: 7 });
});

it('a name of megabytes is nobody’s spelling', () => {
  expect(isSpellingOf('first_blocks', ['firstBlocks'])).toBe(true);
  expect(isSpellingOf(`${'_'.repeat(1e6)}firstBlocks`, ['firstBlocks'])).toBe(false);
});
