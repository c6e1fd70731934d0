import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DejaDitError } from '../errors/errors.ts';
import { parseSentencePiece } from './sentencepiece.ts';
import { loadTokenizer, type Tokenizer } from './tokenizer.ts';

interface Golden {
  text: string;
  ids: number[];
  padded: number[];
  truncated: string;
  decoded: string;
  plain: string;
}

const fixtures = new URL('../../fixtures/tokenizers/', import.meta.url).pathname;
const kinds = ['clip', 'gemma', 'llama3', 'qwen', 't5_unigram', 't5_unigram_wssplit', 'unigram_bytefallback'];

async function readFixture<T>(...path: string[]): Promise<T> {
  return JSON.parse(await readFile(join(fixtures, ...path), 'utf8'));
}

async function folderWith(files: Record<string, unknown>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tokenizer-'));
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return folder;
}

describe('ids of transformers', () => {
  it.each([...kinds, 'emoji_clip', 'emoji_t5', 't5_spiece'])('%s', async (kind) => {
    const tokenizer = await loadTokenizer(join(fixtures, kind));
    const golden = await readFixture<Golden[]>(kind, 'golden.json');
    expect(golden.length).toBeGreaterThan(60);
    for (const { text, ids } of golden) expect({ text, ids: tokenizer.encode(text) }).toEqual({ text, ids });
  });

  it.each(['emoji_clip', 'emoji_t5'])('%s: padded, cut and decoded', async (kind) => {
    const tokenizer = await loadTokenizer(join(fixtures, kind));
    const golden = await readFixture<Golden[]>(kind, 'golden.json');
    const rows = tokenizer.tokenize(
      golden.map(({ text }) => text),
      { padding: 'max_length', truncation: true },
    );
    expect(rows.inputIds).toEqual(golden.map(({ padded }) => padded));
    expect(rows.truncated).toEqual(golden.map(({ truncated }) => truncated));
    const { length } = rows.inputIds[0]!;
    rows.attentionMask.forEach((mask, i) => {
      const used = Math.min(length, golden[i]!.ids.length);
      expect(mask).toEqual([...Array(used).fill(1), ...Array(length - used).fill(0)]);
    });
    for (const { ids, decoded, plain } of golden) {
      expect(tokenizer.decode(ids)).toBe(decoded);
      expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(plain);
    }
  });
});

/** Takes the vocabulary of a tokenizer.json apart into the files of the years before it. */
async function vocabularyFiles(kind: string): Promise<Record<string, unknown>> {
  const { model, added_tokens } = await readFixture<{
    model: { vocab: Record<string, number>; merges: (string | string[])[] };
    added_tokens: { id: number; content: string }[];
  }>(kind, 'tokenizer.json');
  return {
    'vocab.json': { ...model.vocab, ...Object.fromEntries(added_tokens.map(({ id, content }) => [content, id])) },
    'merges.txt': `#version: 0.2\n${model.merges.map((merge) => [merge].flat().join(' ')).join('\n')}\n`,
  };
}

// What it computes is said in its paper: a token is a byte, behind three special ones (ids of transformers agree).
it('ByT5 has bytes for tokens, and needs no vocabulary', async () => {
  const byt5 = await loadTokenizer(await folderWith({ 'tokenizer_config.json': { tokenizer_class: 'ByT5Tokenizer' } }));
  const golden = await readFixture<Golden[]>('t5_unigram', 'golden.json');
  for (const { text } of golden.filter(({ text }) => !/<\/?\w+>/.test(text))) {
    expect(byt5.encode(text)).toEqual([...Array.from(Buffer.from(text), (byte) => byte + 3), 1]);
    expect(byt5.decode(byt5.encode(text), { skipSpecialTokens: true })).toBe(text);
  }
  expect(byt5.encode('a<extra_id_1>')).toEqual([100, 260, 1]);
  const { inputIds } = byt5.tokenize(['é'], { padding: 'max_length', maxLength: 5 });
  expect(inputIds).toEqual([[198, 172, 1, 0, 0]]);
});

describe('vocab.json with merges.txt', () => {
  const startToken = { content: '<|startoftext|>', normalized: true };
  it.each([
    ['clip', { tokenizer_class: 'CLIPTokenizer', bos_token: startToken }],
    ['emoji_clip', { tokenizer_class: 'CLIPTokenizerFast' }],
    ['qwen', { tokenizer_class: 'Qwen2Tokenizer', additional_special_tokens: ['<|im_start|>', '<|im_end|>'] }],
  ])('%s gives the ids of its tokenizer.json', async (kind, config) => {
    const folder = await folderWith({ ...(await vocabularyFiles(kind)), 'tokenizer_config.json': config });
    const tokenizer = await loadTokenizer(folder);
    for (const { text, ids } of await readFixture<Golden[]>(kind, 'golden.json')) {
      expect({ text, ids: tokenizer.encode(text) }).toEqual({ text, ids });
    }
  });
});

describe('tokenize', () => {
  const load = async (config: Record<string, unknown>, kind = 't5_unigram'): Promise<Tokenizer> =>
    loadTokenizer(
      await folderWith({
        'tokenizer.json': await readFile(join(fixtures, kind, 'tokenizer.json'), 'utf8'),
        'tokenizer_config.json': config,
      }),
    );

  it('pads to the longest row, on the side that the config asks for', async () => {
    const right = await load({ pad_token: '<pad>' });
    const left = await load({ pad_token: { content: '<pad>' }, padding_side: 'left' });
    const texts = ['a photo of a cat', 'a photo'];
    const [long, short] = texts.map((text) => right.encode(text)) as [number[], number[]];
    const pads = Array(long.length - short.length).fill(0);
    expect(right.tokenize(texts, { padding: 'longest' }).inputIds).toEqual([long, [...short, ...pads]]);
    expect(left.tokenize(texts, { padding: 'longest' }).inputIds).toEqual([long, [...pads, ...short]]);
    expect(left.tokenize(texts, { padding: 'longest' }).attentionMask[1]).toEqual([...pads, ...short.map(() => 1)]);
    expect(right.tokenize(texts).inputIds).toEqual([long, short]);
  });

  it('cuts on the left when the config says so, and keeps the end token', async () => {
    const tokenizer = await load({ pad_token: '<pad>', truncation_side: 'left' });
    const ids = tokenizer.encode('a photo of a cat');
    const cut = tokenizer.tokenize('a photo of a cat', { maxLength: 4, truncation: true });
    expect(cut.inputIds).toEqual([ids.slice(-4)]);
    expect(cut.truncated).toEqual([tokenizer.decode(ids.slice(0, -4))]);
  });

  it('follows add_bos_token and add_eos_token where a config has them', async () => {
    const config = { bos_token: '<|im_start|>', eos_token: '<|im_end|>' };
    const plain = (await load(config, 'qwen')).encode('cat');
    const both = (await load({ ...config, add_bos_token: true, add_eos_token: true }, 'qwen')).encode('cat');
    expect(both).toEqual([561, ...plain, 562]);
    const withoutEnd = await load({ eos_token: '</s>', add_eos_token: false });
    expect(withoutEnd.encode('cat')).not.toContain(1);
  });

  it('knows tokens that only tokenizer_config.json lists', async () => {
    const tokenizer = await load({ added_tokens_decoder: { 900: { content: '<image>', special: true } } });
    expect(tokenizer.encode('a <image> cat')).toContain(900);
  });

  it('treats an absurd model_max_length as none', async () => {
    const tokenizer = await load({ model_max_length: 1e30, pad_token: '<pad>' });
    expect(tokenizer.modelMaxLength).toBe(Infinity);
    expect(() => tokenizer.tokenize('x', { padding: 'max_length' })).toThrow('padding to max_length needs maxLength');
    expect(tokenizer.tokenize('x', { padding: 'max_length', maxLength: 5 }).inputIds[0]).toHaveLength(5);
  });

  it('refuses what cannot be done', async () => {
    const tokenizer = await load({});
    expect(() => tokenizer.tokenize('x', { padding: 'longest' })).toThrow('no pad token');
    expect(() => tokenizer.tokenize('x', { maxLength: 0 })).toThrow(
      'maxLength 0 is too short for the 1 special tokens',
    );
    expect(() => tokenizer.encode('x'.repeat(100_001))).toThrow('100001 characters is too long');
    expect(tokenizer.encode('ab '.repeat(33_000)).length).toBeGreaterThan(33_000);
    expect(tokenizer.decode([])).toBe('');
  });
});

describe('chat templates', () => {
  it('render as in transformers', async () => {
    const { template, cases } = await readFixture<{
      template: string;
      cases: { messages: { role: string; content: unknown }[]; options: object; text: string }[];
    }>('chat-template.json');
    const tokenizer = await loadTokenizer(
      await folderWith({
        'tokenizer.json': await readFile(join(fixtures, 'qwen/tokenizer.json'), 'utf8'),
        'tokenizer_config.json': { eos_token: '<|im_end|>', chat_template: 'overridden by the file' },
        'chat_template.jinja': template,
      }),
    );
    for (const { messages, options, text } of cases) {
      expect(await tokenizer.applyChatTemplate(messages, options)).toBe(text);
    }
    await expect(tokenizer.applyChatTemplate([{ role: 'nobody', content: '' }])).rejects.toThrow('unknown role nobody');
    await expect(tokenizer.applyChatTemplate([], { template: 'rag' })).rejects.toThrow("no chat template 'rag'");
  });
});

describe('broken files', () => {
  const t5Config = { 'tokenizer_config.json': { tokenizer_class: 'T5Tokenizer' } };
  const precompiled = (charsmap: string) => ({ type: 'Precompiled', precompiled_charsmap: charsmap });
  const model = { type: 'BPE', vocab: { a: 0 }, merges: [] };
  it.each<[string, Record<string, unknown>, string]>([
    ['no files', {}, 'holds neither tokenizer.json nor vocab.json'],
    ['cut short', { 'tokenizer.json': '{"model": {"ty' }, 'tokenizer.json: is not valid JSON'],
    ['not an object', { 'tokenizer.json': '[1, 2]' }, 'tokenizer.json: must hold a JSON object'],
    ['no model', { 'tokenizer.json': '{}' }, "tokenizer.json: has no 'model' object"],
    ['bad id', { 'tokenizer.json': { model: { ...model, vocab: { a: 'b' } } } }, `gives "a" the id "b"`],
    ['bad added token', { 'tokenizer.json': { model, added_tokens: [{ id: 1.5 }] } }, 'added_tokens[0] needs'],
    ['unknown model', { 'tokenizer.json': { model: { type: 'Magic' } } }, 'Unknown TokenizerModel type: Magic'],
    ['unknown step', { 'tokenizer.json': { model, normalizer: { type: 'Rot13' } } }, 'Unknown Normalizer type: Rot13'],
    ['no merges', { 'tokenizer.json': { model: { type: 'BPE', vocab: {} } } }, 'tokenizer.json: cannot be used'],
    [
      'bad length',
      { 'tokenizer.json': { model }, 'tokenizer_config.json': { model_max_length: 'x' } },
      'model_max_length',
    ],
    ['charsmap too short', { 'tokenizer.json': { model, normalizer: precompiled('AAEAAA==') } }, 'is damaged'],
    ['not SentencePiece', { 'spiece.model': 'none of it', ...t5Config }, 'spiece.model: is not a SentencePiece model'],
    ['empty model', { 'spiece.model': '', ...t5Config }, 'spiece.model: is not a SentencePiece model'],
    ['SentencePiece of another class', { 'spiece.model': '' }, 'from spiece.model; save a tokenizer.json beside it'],
    [
      'class unknown',
      { 'vocab.json': {}, 'merges.txt': '', 'tokenizer_config.json': {} },
      'save a tokenizer.json beside it',
    ],
    [
      'missing special token',
      { 'tokenizer.json': { model, post_processor: { type: 'BertProcessing', cls: ['[C]', 5], sep: ['a', 0] } } },
      "the special token '[C]' is not in the vocabulary",
    ],
  ])('%s', async (_, files, message) => {
    const folder = await folderWith(files);
    const error: Error = await loadTokenizer(folder).then(
      () => expect.unreachable(),
      (reason) => reason,
    );
    expect(error.name).toBe('DejaDitError');
    expect(error.message).toContain(message);
    expect(error.message).toContain(folder);
    expect(error.message).not.toContain('\n');
  });

  it('a SentencePiece model cut anywhere loads what is whole or fails with one line', async () => {
    const bytes = await readFile(join(fixtures, 't5_spiece/spiece.model'));
    for (let length = 0; length < bytes.length; length += 97) {
      try {
        parseSentencePiece(bytes.subarray(0, length), 'spiece.model');
      } catch (error) {
        expect(error).toBeInstanceOf(DejaDitError);
        expect((error as Error).message).toBe('spiece.model: is not a SentencePiece model, or damaged');
      }
    }
  });
});
