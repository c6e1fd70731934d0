import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseYaml } from './yaml.ts';

it('reads what the library reads', () => {
  const text = 'cache_config:\n  Fn: 1 # comment\n  mask: &m [1, 0]\n  again: *m\n- x'.replace(
    '\n- x',
    '\nlist:\n- {a: "b"}\n',
  );
  expect(parseYaml(text, 'x.yaml')).toEqual(parse(text));
});

/** Nine anchors, each of nine of the one before: 9^9 entries from 500 bytes. */
const laughs = Array.from({ length: 9 }, (_, i) => {
  const items = i === 0 ? Array(9).fill('x') : Array(9).fill(`*a${i - 1}`);
  return `a${i}: &a${i} [${items.join(',')}]`;
}).join('\n');

describe('a bomb is refused before it goes off', () => {
  it.each([
    ['brackets', '['.repeat(60_000), /nests deeper/],
    ['closed brackets', '['.repeat(30_000) + ']'.repeat(30_000), /nests deeper/],
    ['braces', '{a: '.repeat(15_000), /nests deeper/],
    ['lists', `${'- '.repeat(30_000)}a`, /nests deeper/],
    ['keys that are keys', `${'? '.repeat(30_000)}a`, /nests deeper/],
    ['indentation', Array.from({ length: 300 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'), /nests deeper/],
    ['errors', ']'.repeat(60_000), /is no YAML or JSON: Unexpected/],
    ['anchors', '&a '.repeat(20_000), /more than 20000 YAML tokens/],
    ['keys', Array.from({ length: 6000 }, (_, i) => `k${i}: 1`).join('\n'), /more than 20000 YAML tokens/],
    ['aliases', laughs, /Excessive alias count/],
    ['size', `# ${'x'.repeat(70_000)}`, /has 70002 characters, YAML is read up to 65536/],
    ['no YAML', 'a: [1\nb: }', /is no YAML or JSON: Unexpected flow-map-end/],
    ['a key twice', 'a: 1\nb: 2\na: 3', /is no YAML or JSON: Map keys must be unique \(line 3\)$/],
    ['two documents', 'a: 1\n---\nb: 1', /is no YAML or JSON/],
  ])('%s', (_, text, message) => {
    expect(() => parseYaml(text, 'x.yaml')).toThrow(message);
    expect(() => parseYaml(text, 'x.yaml')).toThrow(/^x\.yaml: [^\n]{1,600}$/);
  });
});
