/** Tokenizers and chat templates made to take all time or memory. Each must end, with one line, long before a test's own limit. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { DejaDitError } from '../errors/errors.ts';
import { loadTokenizer, type Tokenizer } from './tokenizer.ts';

const fixtures = new URL('../../fixtures/tokenizers/', import.meta.url).pathname;
const folders: string[] = [];
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))));

async function tokenizerOf(files: Record<string, unknown>): Promise<Tokenizer> {
  const folder = await mkdtemp(join(tmpdir(), 'tokenizer-'));
  folders.push(folder);
  for (const [name, content] of Object.entries(files)) {
    const raw = typeof content === 'string' || Buffer.isBuffer(content);
    await writeFile(join(folder, name), raw ? content : JSON.stringify(content));
  }
  return loadTokenizer(folder);
}

async function failure(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    expect(error).toBeInstanceOf(DejaDitError);
    expect((error as Error).message).not.toContain('\n');
    return (error as Error).message;
  }
  return 'nothing was thrown';
}

const letters = { a: 0, b: 1, '▁': 2, '?': 3 };
const bpe = { type: 'BPE', vocab: letters, merges: [], unk_token: '?' };
const split = (Regex: string) => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false });
const replace = (pattern: object, content: string) => ({ type: 'Replace', pattern, content });
const sequence = (steps: object[]) => ({ type: 'Sequence', normalizers: steps, pretokenizers: steps, decoders: steps });
const pieces = (lengths: number) => ({
  type: 'Unigram',
  unk_id: 0,
  vocab: Array.from({ length: lengths }, (_, i) => ['a'.repeat(i + 1), -i]),
});
const charsmap = (replacement: string) => {
  const trie = Buffer.alloc(1024);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(trie.length);
  return Buffer.concat([length, trie, Buffer.from(`${replacement}\0`)]).toString('base64');
};

const someA = `${'a'.repeat(60)}!`;

describe('a definition', () => {
  it.each<[string, Record<string, unknown>, string, string | RegExp]>([
    ['whose pattern backtracks', { pre_tokenizer: split('(a+)+$') }, someA, 'took longer than 1.'],
    ['whose clean-up backtracks', { normalizer: replace({ Regex: '(a|a)*$' }, 'b') }, someA, 'took longer than 1.'],
    [
      'that doubles a text 60 times',
      { normalizer: sequence(Array(60).fill(replace({ String: 'a' }, 'aa'))) },
      'aaaa',
      'more than 1000000 characters',
    ],
    [
      'that doubles pieces 60 times',
      { pre_tokenizer: sequence(Array(60).fill(replace({ String: 'a' }, 'aa'))) },
      'aaaa',
      'more than 1000000 characters',
    ],
    ['with 128 pieces at every place', { model: pieces(128) }, 'a'.repeat(10_000), /places for pieces|took longer/],
    ['without an id for a character', { model: { ...bpe, unk_token: 'none' } }, 'x', 'nor one for unknown tokens'],
  ])('%s fails at the text', async (_, parts, text, message) => {
    const tokenizer = await tokenizerOf({ 'tokenizer.json': { model: bpe, ...parts } });
    expect(await failure(() => tokenizer.encode(text))).toMatch(message);
    expect(await failure(() => tokenizer.encode('b'))).toBe('nothing was thrown');
  });

  it.each<[string, Record<string, unknown>, string]>([
    [
      'whose added token meets a pattern that backtracks',
      {
        normalizer: replace({ Regex: '(a+)+$' }, ''),
        added_tokens: [{ id: 9, content: someA, normalized: true, special: false }],
      },
      'building the tokenizer took longer than 2.',
    ],
    ['with pieces of 129 characters', { model: pieces(129) }, 'characters in the piece model.vocab[128]'],
    ['with too many added tokens', { added_tokens: Array(100_001).fill({ id: 1, content: 'x' }) }, 'added tokens'],
    [
      'with added tokens of megabytes',
      { added_tokens: [{ id: 1, content: 'x'.repeat(2_000_000) }] },
      'characters in its added tokens',
    ],
    ['with merges by the million', { model: { ...bpe, merges: Array(1_000_001).fill('a b') } }, '1000001 merges'],
    ['with steps of no length', { pre_tokenizer: { type: 'FixedLength', length: 0 } }, "positive integer 'length'"],
    ['with steps of length -1', { pre_tokenizer: sequence([{ type: 'FixedLength', length: -1 }]) }, 'got -1'],
    ['with 5000 steps', { normalizer: sequence(Array(5000).fill({ type: 'NFC' })) }, '1001 steps'],
    [
      'with steps in steps',
      {
        normalizer: Array(500)
          .fill(0)
          .reduce((inner) => ({ type: 'Sequence', normalizers: [inner] }), { type: 'NFC' }),
      },
      'deeper than 64 levels',
    ],
    ['with an endless pattern', { pre_tokenizer: split('(?:a|b)'.repeat(5000)) }, 'characters in pre_tokenizer'],
    ['that writes a novel', { normalizer: replace({ String: 'a' }, 'b'.repeat(1000)) }, 'characters in normalizer'],
    [
      'whose character map writes a novel',
      { normalizer: { type: 'Precompiled', precompiled_charsmap: charsmap('x'.repeat(1000)) } },
      'a replacement of 1000 bytes',
    ],
    [
      'that repeats the text',
      { post_processor: { type: 'TemplateProcessing', single: Array(9).fill({ Sequence: { id: 'A', type_id: 0 } }) } },
      'not 9 times',
    ],
  ])('%s is not built', async (_, parts, message) => {
    expect(await failure(() => tokenizerOf({ 'tokenizer.json': { model: bpe, ...parts } }))).toContain(message);
  });

  it('with words that merge into ever longer ones takes a long text', async () => {
    const powers = Array.from({ length: 12 }, (_, i) => 'a'.repeat(2 ** i));
    const vocab = Object.fromEntries(powers.map((word, id) => [word, id]));
    const merges = powers.slice(0, -1).map((word) => [word, word]);
    const tokenizer = await tokenizerOf({ 'tokenizer.json': { model: { type: 'BPE', vocab, merges } } });
    expect(tokenizer.encode('a'.repeat(16_384))).toEqual(Array(8).fill(11));
  });

  it.each(['padding', 'ids'])('with absurd %s', async (kind) => {
    const spiece = await readFile(join(fixtures, 't5_spiece/spiece.model'));
    const load = (config: object) =>
      tokenizerOf({ 'spiece.model': spiece, 'tokenizer_config.json': { tokenizer_class: 'T5Tokenizer', ...config } });
    if (kind === 'ids') {
      for (const extra_ids of [1e7, -1, 0.5, '100'])
        expect(await failure(() => load({ extra_ids }))).toContain(
          'tokenizer_config.json: extra_ids must be an integer',
        );
    } else {
      const tokenizer = await load({ model_max_length: 1e9 });
      expect(await failure(() => tokenizer.tokenize('a', { padding: 'max_length' }))).toContain(
        'padding to 1000000000 tokens is more than a text can have',
      );
      expect(tokenizer.tokenize('a', { truncation: true }).inputIds[0]!.length).toBeLessThan(5);
    }
  });
});

describe('a chat template', () => {
  const render = async (template: string, content = 'a red apple') => {
    const tokenizer = await tokenizerOf({ 'tokenizer.json': { model: bpe }, 'chat_template.jinja': template });
    return tokenizer.applyChatTemplate([{ role: 'user', content }]);
  };
  const loops = (depth: number, body: string): string =>
    depth === 0 ? body : `{% for i in range(1000) %}${loops(depth - 1, body)}{% endfor %}`;

  it.each<[string, string, string | RegExp]>([
    ['of a billion rounds', '{% for i in range(1000000000) %}x{% endfor %}', 'range(0, 1000000000, 1)'],
    ['of no step', '{% for i in range(0, 5, 0) %}x{% endfor %}', 'range(0, 5, 0)'],
    ['of loops in loops', loops(5, ''), /more work than any chat template needs|took longer than 1 s/],
    ['that doubles a text', `{% set ns = namespace(x='ab') %}${loops(1, '{% set ns.x = ns.x ~ ns.x %}')}`, 'more work'],
    ['that doubles a list', `{% set ns = namespace(x=[1]) %}${loops(1, '{% set ns.x = ns.x + ns.x %}')}`, 'more work'],
    [
      'that writes a tree of lists',
      `{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson }}`,
      'took longer than 1 s',
    ],
    ['that indents without end', "{{ 'a\\nb' | indent(1000000000) }}", 'Invalid'],
    ['that calls itself', '{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}', 'failed'],
    [
      'that calls itself twice',
      '{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}',
      /more work|took longer/,
    ],
    ['of megabytes', 'x'.repeat(1_000_001), 'more than 1000000 characters'],
    ['of brackets', `{{ ${'['.repeat(100_000)} }}`, 'failed'],
  ])('%s', async (_, template, message) => {
    expect(await failure(() => render(template))).toMatch(message);
  });

  it('may use what templates use', async () => {
    const template = [
      '{%- for message in messages -%}{{ message.role }}: {{ message.content | trim }}{%- endfor -%}',
      '{%- for i in range(1, 7, 2) %} {{ i }}{% endfor -%}',
      '{%- for i in range(2, 0, -1) %} {{ i }}{% endfor -%}',
      "{{ ' ' ~ (strftime_now('%Y') | length) }}",
    ].join('');
    expect(await render(template)).toBe('user: a red apple 1 3 5 2 1 4');
    const long = 'a'.repeat(100_000);
    expect(await render('{% for i in range(20) %}{{ messages[0].content[0] }}{% endfor %}', long)).toBe('a'.repeat(20));
  });
});

describe('a text', () => {
  it.each([
    ['of 100 MB', 'ab '.repeat(33_000_000), '99000000 characters is too long'],
    ['with half a character', 'an \ud83d apple', 'the lone surrogate U+D83D) at position 3'],
    ['with the other half', '\udc00', 'lone surrogate'],
    ['that is none', null, 'expected a string, got null'],
    ['that is a number', 7, 'expected a string, got number'],
  ])('%s is refused', async (_, text, message) => {
    const tokenizer = await loadTokenizer(join(fixtures, 'qwen'));
    expect(await failure(() => tokenizer.encode(text as string))).toContain(message);
    expect(await failure(() => tokenizer.tokenize(['a', text as string]))).toContain(message);
    if (typeof text !== 'string') return;
    expect(await failure(() => tokenizer.applyChatTemplate([{ role: 'user', content: text }]))).toContain(message);
  });

  it('of every awkward kind gives the ids of transformers', async () => {
    const { texts, ids } = JSON.parse(await readFile(join(fixtures, 'awkward.json'), 'utf8')) as {
      texts: string[];
      ids: Record<string, number[][]>;
    };
    for (const [kind, expected] of Object.entries(ids)) {
      const tokenizer = await loadTokenizer(join(fixtures, kind));
      for (const [i, text] of texts.entries())
        expect({ kind, text, ids: tokenizer.encode(text) }).toEqual({ kind, text, ids: expected[i] });
    }
  });
});
