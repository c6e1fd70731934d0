/** Damaged tokenizer files, hostile steps, made-up chat templates and awkward texts: the same for the same random numbers. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DejaDitError, type ErrorCode } from '../../errors/errors.ts';
import { loadTokenizer, type Tokenizer } from '../tokenizer.ts';

/** A whole number from 0 to below the argument. */
type Random = (below: number) => number;
type Json = Record<string, unknown>;

const fixtures = new URL('../../../fixtures/tokenizers/', import.meta.url).pathname;
const kinds = ['clip', 'gemma', 'llama3', 'qwen', 't5_unigram', 't5_unigram_wssplit', 'unigram_bytefallback'];

const odd: readonly unknown[] = [
  ...[null, true, false, 0, -1, 0.5, 3, 1e9, 2 ** 31, -1e300],
  ...['', ' ', 'a', 'aa', '▁', '</s>', 'x'.repeat(300), '__proto__', 'constructor', '\ud800', '\u0000', 'A', 'single'],
  ...['(a+)+$', '(a|a)*$', '\\p{L', '[a-', '(?<=a)', '\\s*[\\r\\n]+|\\s+(?!\\S)', '.*.*.*.*=', '', '(?:)'],
  ...[[], [null], ['a', 'b'], [['a', 0]], {}, { a: 1 }, { Regex: '(a*)*b' }, { String: 'a' }, { String: '' }],
];

const words = (text: string) => text.split(' ');
const stepTypes = {
  normalizer: words(
    'BertNormalizer ByteLevel Lowercase NFC NFD NFKC NFKD Nmt Precompiled Prepend Replace Sequence Strip StripAccents',
  ),
  pre_tokenizer: words(
    'BertPreTokenizer ByteLevel Digits FixedLength Metaspace Punctuation Replace Sequence Split Whitespace WhitespaceSplit',
  ),
  post_processor: words('BertProcessing ByteLevel RobertaProcessing Sequence TemplateProcessing'),
  decoder: words('BPEDecoder ByteFallback ByteLevel CTC Fuse Metaspace Replace Sequence Strip WordPiece'),
  model: words('BPE Unigram WordPiece WordLevel'),
};
const stepFields = words(
  'pattern content behavior invert length replacement prepend prepend_scheme single cls sep lowercase strip_accents clean_text ' +
    'precompiled_charsmap individual_digits start stop suffix add_prefix_space use_regex strip_left vocab merges unk_token unk_id',
);

const templateParts = String.raw`
{% for m in messages %},{% for i in range(,{% endfor %},{% if ,{% else %},{% endif %}, %},{{ , }},{% set x = ,-%},{%- ,
{% set ns = namespace(x=1) %},{% set ns.x = ,{% macro f(a) %},{% endmacro %},f(,{% raw %},messages,m.content,m["role"],x,
x + x,x ~ x,[x],ns.x,i,loop.index,1,-1,1000000000,99999,0,"a",'\n',none,true,{"a": 1},(,),[,],::-1, * , ** , | tojson, | trim,
 | indent(99999999), | join(x), | length, | default("b"), | replace("", x), | list, is defined, is string, in , not , and ,
.split(""),.items(),raise_exception("no\nway")`
  .replaceAll('\n', '')
  .split(',');

/** What became of the inputs: how many were taken, and how many were refused with which code. */
export type Outcomes = Partial<Record<'taken' | ErrorCode, number>>;

/**
 * Loads and uses `inputs` damaged tokenizers in `folder`.
 * @throws whatever is thrown that is no DejaDitError on one line
 */
export async function fuzzTokenizers(
  inputs: number,
  { random, folder }: { random: Random; folder: string },
): Promise<Outcomes> {
  const seeds = await Promise.all(kinds.map((kind) => readFile(join(fixtures, kind, 'tokenizer.json'), 'utf8')));
  const { texts } = JSON.parse(await readFile(join(fixtures, 'awkward.json'), 'utf8')) as { texts: string[] };
  const outcomes: Outcomes = {};
  for (let i = 0; i < inputs; i++) {
    const outcome = await outcomeOf(async () => {
      const definition = random(4) === 0 ? seeds[random(seeds.length)]! : damaged(seeds[random(seeds.length)]!, random);
      await writeFile(join(folder, 'tokenizer.json'), definition);
      await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(config(random)));
      await use(await loadTokenizer(folder), textFrom(texts, random));
    });
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  }
  return outcomes;
}

async function outcomeOf(work: () => Promise<void>): Promise<'taken' | ErrorCode> {
  try {
    await work();
    return 'taken';
  } catch (error) {
    if (error instanceof DejaDitError && !error.message.includes('\n')) return error.code;
    throw error;
  }
}

async function use(tokenizer: Tokenizer, text: string): Promise<void> {
  const { inputIds, attentionMask, truncated } = tokenizer.tokenize([text, 'a'], { truncation: true, maxLength: 24 });
  const whole = (rows: number[][]) => rows.length === 2 && rows.flat().every((id) => Number.isInteger(id) && id >= 0);
  if (!whole(inputIds) || !whole(attentionMask) || truncated.some((rest) => typeof rest !== 'string'))
    throw new TypeError(`no token ids: ${JSON.stringify(inputIds)}`);
  tokenizer.decode(inputIds.flat(), { skipSpecialTokens: true });
  tokenizer.tokenize(text, { padding: 'longest' });
  const prompt = await tokenizer.applyChatTemplate([{ role: 'user', content: text }]);
  if (typeof prompt !== 'string') throw new TypeError('no prompt');
}

function damaged(json: string, random: Random): string {
  const definition = JSON.parse(json) as Json;
  for (let i = random(3); i >= 0; i--) {
    if (random(2) === 0) damage(definition, random);
    else addStep(definition, random);
  }
  const text = JSON.stringify(definition);
  return random(20) === 0 ? text.slice(0, random(text.length)) : text;
}

/** Replaces, removes or repeats something at a random depth. */
function damage(value: object, random: Random): void {
  const keys = Object.keys(value);
  if (keys.length === 0) return;
  const key = keys[random(keys.length)]!;
  const part: unknown = Reflect.get(value, key);
  if (typeof part === 'object' && part !== null && random(4) > 0) damage(part, random);
  else if (random(6) === 0) Reflect.deleteProperty(value, key);
  else Reflect.set(value, key, random(4) === 0 ? [part, part] : pick(odd, random));
}

function addStep(definition: Json, random: Random): void {
  const name = pick(Object.keys(stepTypes) as (keyof typeof stepTypes)[], random);
  const step: Json = { type: pick(stepTypes[name], random) };
  for (let i = random(4); i > 0; i--) step[pick(stepFields, random)] = pick(odd, random);
  const before = definition[name];
  if (name === 'model') definition[name] = { ...(before as Json), ...step };
  else if (random(3) === 0) definition[name] = step;
  else {
    const steps = Array<unknown>(1 + random(40))
      .fill(step)
      .concat(before ?? []);
    definition[name] = {
      type: 'Sequence',
      normalizers: steps,
      pretokenizers: steps,
      processors: steps,
      decoders: steps,
    };
  }
}

function config(random: Random): Json {
  const parts = Array.from({ length: 1 + random(12) }, () => pick(templateParts, random));
  const template = random(2) === 0 ? '{{ messages[0].content }}' : parts.join('');
  const settings: Json = { pad_token: '</s>', chat_template: template };
  const name = pick(words('model_max_length pad_token bos_token add_bos_token truncation_side chat_template'), random);
  if (random(4) === 0) settings[name] = pick(odd, random);
  if (random(8) === 0) settings['added_tokens_decoder'] = { [`${pick(odd, random)}`]: { content: pick(odd, random) } };
  return settings;
}

function textFrom(texts: readonly string[], random: Random): string {
  switch (random(6)) {
    case 0:
      return `${'a'.repeat(random(3000))}!`;
    case 1:
      return ' '.repeat(random(3000));
    case 2:
      return String.fromCharCode(...Array.from({ length: random(20) }, () => random(0x10000)));
    default:
      return Array.from({ length: 1 + random(4) }, () => pick(texts, random)).join('');
  }
}

function pick<T>(values: readonly T[], random: Random): T {
  return values[random(values.length)]!;
}
