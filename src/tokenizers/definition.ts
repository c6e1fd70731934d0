/** The parts of a tokenizer.json that this engine looks at, and the checks that make a parsed file one. */
import { DejaDitError } from '../errors/errors.ts';
import { quote } from '../errors/printable.ts';
import { isObject, type JsonObject } from './json-files.ts';

export interface AddedToken {
  id: number;
  content: string;
  single_word: boolean;
  lstrip: boolean;
  rstrip: boolean;
  normalized: boolean;
  special: boolean;
}

export interface TokenizerDefinition {
  added_tokens: AddedToken[];
  normalizer: JsonObject | null;
  pre_tokenizer: JsonObject | null;
  post_processor: JsonObject | null;
  decoder: JsonObject | null;
  model: JsonObject;
  /** Padding that was switched on when the file was saved; only its pad token matters here. */
  padding?: JsonObject | null;
}

export function parseDefinition(json: JsonObject, path: string): TokenizerDefinition {
  const fail = (message: string) => new DejaDitError('INVALID_FILE', message, { path });
  const part = (name: string) => {
    const value = json[name] ?? null;
    if (value !== null && !isObject(value)) throw fail(`'${name}' must be an object or null`);
    return value;
  };
  const model = part('model');
  if (model === null) throw fail("has no 'model' object: not a tokenizer.json");
  if (isObject(model['vocab'])) checkIds(model['vocab'], path);
  const added = json['added_tokens'] ?? [];
  if (!Array.isArray(added)) throw fail("'added_tokens' must be a list");
  return {
    added_tokens: added.map((token, i) => {
      const { id, content } = isObject(token) ? token : {};
      if (!isTokenId(id) || typeof content !== 'string') {
        throw fail(`added_tokens[${i}] needs a 'content' and an integer 'id'`);
      }
      return addedToken(id, { ...token, content });
    }),
    normalizer: part('normalizer'),
    pre_tokenizer: part('pre_tokenizer'),
    post_processor: part('post_processor'),
    decoder: part('decoder'),
    model,
    padding: part('padding'),
  };
}

/** An added token with the defaults that files may leave out. */
export function addedToken(id: number, token: JsonObject & { content: string }): AddedToken {
  const special = token['special'] === true;
  return {
    id,
    content: token.content,
    single_word: token['single_word'] === true,
    lstrip: token['lstrip'] === true,
    rstrip: token['rstrip'] === true,
    normalized: typeof token['normalized'] === 'boolean' ? token['normalized'] : !special,
    special,
  };
}

/** Throws unless every value is a token id. */
export function checkIds(vocab: JsonObject, path: string): asserts vocab is Record<string, number> {
  for (const token in vocab) {
    if (isTokenId(vocab[token])) continue;
    throw new DejaDitError('INVALID_FILE', `the vocabulary gives ${quote(token)} the id ${quote(vocab[token])}`, {
      path,
    });
  }
}

export function isTokenId(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 31;
}

/** Configs write a special token as its text or as an object with a `content`. */
export function tokenText(value: unknown): string | undefined {
  if (isObject(value)) return tokenText(value['content']);
  return typeof value === 'string' ? value : undefined;
}
