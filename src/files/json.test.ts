import { describe, expect, it } from 'vitest';
import { parseJson, parseJsonValue } from './json.ts';

const at = { path: 'x.json' };

it.each([
  ['{"a": [1, {"b": "]}{[\\"\\\\"}]}', { a: [1, { b: ']}{["\\' }] }],
  [
    '{"a": NaN, "b": [-Infinity, Infinity], "c": ": NaN, \\" Infinity"}',
    { a: 'NaN', b: [-Infinity, Infinity], c: ': NaN, " Infinity' },
  ],
  [' {"__proto__x": 1}\n', { __proto__x: 1 }],
])('%s', (text, value) => expect(parseJson(text, at)).toEqual(value));

describe('is refused in one line', () => {
  it.each([
    ['{"a": ', /^x\.json: is not valid JSON \(/],
    ['{"a": NaNo}', /is not valid JSON/],
    ['{"a": --Infinity}', /is not valid JSON/],
    ['"\\', /is not valid JSON/],
    ['[1]', /must hold a JSON object$/],
    ['null', /must hold a JSON object$/],
    [`{"a": ${'['.repeat(20_000)}${']'.repeat(20_000)}}`, /nests deeper than 64 levels$/],
    [`${'{"a":'.repeat(65)}1${'}'.repeat(65)}`, /nests deeper than 64 levels$/],
    [`[${'0,'.repeat(4_000_001)}0]`, /holds more than 4000000 values$/],
  ])('%#', (text, message) => expect(() => parseJson(text, at)).toThrow(message));
});

it('depth is counted where brackets are, not in strings', () => {
  const text = `{"a": "${'['.repeat(1000)}", "b": ${'['.repeat(63)}${']'.repeat(63)}}`;
  expect(parseJson(text, at)['a']).toHaveLength(1000);
  expect(parseJsonValue('[]', at)).toEqual([]);
});

it('names the part of a file, and a key that is there twice', () => {
  expect(() => parseJson('[]', { ...at, subject: 'the header' })).toThrow('x.json: the header must hold a JSON object');
  expect(() => parseJson('{"a": {"b": 1, "\\u0062": 2}}', { ...at, uniqueKeys: true })).toThrow(
    'has the key "b" twice',
  );
  expect(parseJson('{"a": {"b": 1}, "b": {"a": 1}}', { ...at, uniqueKeys: true })).toBeTruthy();
});
