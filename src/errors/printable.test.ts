import { describe, expect, it } from 'vitest';
import { DejaDitError, nearestName } from './errors.ts';
import { printable, quote } from './printable.ts';
import { setWarningHandler, warn } from './warnings.ts';

const hostile = 'FluxPipeline\n\x1b[2K\rdeja-dit: all is well\u009b31m\u202egnp\u2028\ud800';
const unprintable = /[\p{Cc}\p{Cs}\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

describe('a stranger’s text', () => {
  it('is one line, and what it hides is shown', () => {
    expect(printable(hostile)).toBe(
      'FluxPipeline\\n\\u001b[2K\\rdeja-dit: all is well\\u009b31m\\u202egnp\\u2028\\ud800',
    );
    expect(printable('Straße 猫 🍎 e\u0301')).toBe('Straße 猫 🍎 e\u0301');
  });

  it('is cut in the middle, however long its escapes', () => {
    expect(printable('abcdefghij', 9)).toBe('abc...hij');
    expect(printable('\n'.repeat(1e7), 100)).toHaveLength(100);
  });

  it('in an error: the message is a line, `path` is the name itself', () => {
    const error = new DejaDitError('INVALID_FILE', `${hostile}${'x'.repeat(1e6)}`, { path: hostile });
    expect(error.message).not.toMatch(unprintable);
    expect(error.message.length).toBeLessThan(1700);
    expect(error.path).toBe(hostile);
    expect(new DejaDitError('INVALID_FILE', 'is bad', { path: `/${'x'.repeat(2000)}/end.json` }).message).toMatch(
      /^\/x+\.\.\.x+\/end\.json: is bad$/,
    );
  });

  it('in a warning', () => {
    const heard: string[] = [];
    const before = setWarningHandler((message) => heard.push(message));
    warn(hostile);
    setWarningHandler(before);
    expect(heard).toEqual([printable(hostile)]);
  });
});

describe('quote', () => {
  it.each([
    ['text', '"text"'],
    [[1, -0.5, null, 'a'], '[1,-0.5,null,"a"]'],
    [{ a: { b: [true] }, c: undefined }, '{"a":{"b":[true]}}'],
    [undefined, 'undefined'],
    [Number.NaN, 'NaN'],
    [7n, '7'],
    [() => 1, 'a function'],
    [Symbol('x'), 'Symbol(x)'],
    ['a\nb\u2028', '"a\\nb\\u2028"'],
    [[[[[[1]]]]], '[[[[[...]]]]]'],
    [{ toString: 1 }, '{"toString":1}'],
  ])('%#', (value, text) => expect(quote(value)).toBe(text));

  it('is short and quick, whatever the value is', () => {
    let deep: unknown[] = [];
    for (let i = 0; i < 100_000; i++) deep = [deep];
    const round: Record<string, unknown> = {};
    round['self'] = round;
    const values = [deep, round, Array(1e6).fill(deep), 'x'.repeat(1e8), { ['k'.repeat(1e6)]: deep }];
    for (const value of values) expect(quote(value).length).toBeLessThanOrEqual(120);
  });
});

it('the nearest name is found among long ones', () => {
  expect(nearestName('FluxTransfromer', ['x'.repeat(1e7), 'FluxTransformer'])).toBe('FluxTransformer');
  expect(nearestName('x'.repeat(1e7), ['FluxTransformer'])).toBeUndefined();
});
