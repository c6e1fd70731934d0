/**
 * Reads the files of a tokenizer folder (Hugging Face layout) into one definition and its settings.
 * What the definition computes is left to `tokenizer.ts`; making one out of other vocabulary files to
 * `vocabulary-files.ts`.
 */
import { DejaDitError } from '../errors/errors.ts';
import { quote } from '../errors/printable.ts';
import { joinPath } from '../files/paths.ts';
import { addedToken, isTokenId, parseDefinition, type TokenizerDefinition, tokenText } from './definition.ts';
import { isObject, type JsonObject, readJson, readText } from './json-files.ts';
import { definitionFromVocabulary } from './vocabulary-files.ts';

/** What tokenizer_config.json and its companions say, with the defaults of the class filled in. */
export interface TokenizerSettings {
  /** Infinity where the config has no limit (files spell that as a number around 1e30). */
  modelMaxLength: number;
  bosToken: string | undefined;
  eosToken: string | undefined;
  padToken: string | undefined;
  unkToken: string | undefined;
  paddingSide: 'left' | 'right';
  truncationSide: 'left' | 'right';
  /** Given explicitly, these two override the special tokens that tokenizer.json would add. */
  addBosToken: boolean | undefined;
  addEosToken: boolean | undefined;
  cleanUpTokenizationSpaces: boolean;
  chatTemplates: Map<string, string>;
}

export interface TokenizerFiles {
  /** The file that the vocabulary came from, for messages. */
  path: string;
  definition: TokenizerDefinition;
  settings: TokenizerSettings;
}

/** Special tokens that a class has even if its files do not name them. */
const classTokens: Record<string, Record<string, string>> = {
  CLIPTokenizer: {
    bos_token: '<|startoftext|>',
    eos_token: '<|endoftext|>',
    unk_token: '<|endoftext|>',
    pad_token: '<|endoftext|>',
  },
  T5Tokenizer: { eos_token: '</s>', unk_token: '<unk>', pad_token: '<pad>' },
  ByT5Tokenizer: { eos_token: '</s>', unk_token: '<unk>', pad_token: '<pad>' },
  Qwen2Tokenizer: { eos_token: '<|endoftext|>', pad_token: '<|endoftext|>' },
};

export async function readTokenizerFiles(folder: string): Promise<TokenizerFiles> {
  const configPath = joinPath(folder, 'tokenizer_config.json');
  const config = (await readJson(configPath)) ?? {};
  const specialTokens = (await readJson(joinPath(folder, 'special_tokens_map.json'))) ?? {};
  const named = config['tokenizer_class'];
  const className = typeof named === 'string' ? named.replace(/Fast$/, '') : '';
  const tokens: JsonObject = { ...classTokens[className], ...specialTokens, ...config };

  const path = joinPath(folder, 'tokenizer.json');
  const json = await readJson(path);
  const found =
    json === undefined
      ? await definitionFromVocabulary({ folder, className, tokens })
      : { path, definition: parseDefinition(json, path) };
  mergeAddedTokens(found.definition, config);

  const flag = (name: string) => (typeof config[name] === 'boolean' ? config[name] : undefined);
  return {
    ...found,
    settings: {
      modelMaxLength: lengthLimit(config['model_max_length'], configPath),
      bosToken: tokenText(tokens['bos_token']),
      eosToken: tokenText(tokens['eos_token']),
      padToken: tokenText(tokens['pad_token']) ?? tokenText(found.definition.padding?.['pad_token']),
      unkToken: tokenText(tokens['unk_token']),
      paddingSide: config['padding_side'] === 'left' ? 'left' : 'right',
      truncationSide: config['truncation_side'] === 'left' ? 'left' : 'right',
      addBosToken: flag('add_bos_token'),
      addEosToken: flag('add_eos_token'),
      cleanUpTokenizationSpaces: flag('clean_up_tokenization_spaces') ?? false,
      chatTemplates: await readChatTemplates(folder, config),
    },
  };
}

function lengthLimit(value: unknown, path: string): number {
  const length = value ?? Infinity;
  if (!(typeof length === 'number' && length >= 1)) {
    throw new DejaDitError('INVALID_CONFIG', `model_max_length must be a positive number, got ${quote(value)}`, {
      path,
    });
  }
  return length > 1e20 ? Infinity : length;
}

/** Tokens that only tokenizer_config.json knows (`added_tokens_decoder`) belong to the vocabulary too. */
function mergeAddedTokens(definition: TokenizerDefinition, config: JsonObject): void {
  const listed = config['added_tokens_decoder'];
  if (!isObject(listed)) return;
  const known = new Set(definition.added_tokens.map((token) => token.content));
  for (const [key, token] of Object.entries(listed)) {
    const id = Number(key);
    const content = tokenText(token);
    if (content === undefined || !isTokenId(id) || known.has(content)) continue;
    definition.added_tokens.push(addedToken(id, { ...(isObject(token) ? token : { special: true }), content }));
  }
}

/** A template is a string, a list of named ones, or a file of its own (chat_template.jinja), which wins. */
async function readChatTemplates(folder: string, config: JsonObject): Promise<Map<string, string>> {
  const templates = new Map<string, string>();
  const value = config['chat_template'];
  if (typeof value === 'string') templates.set('default', value);
  for (const entry of Array.isArray(value) ? value : []) {
    const { name, template } = isObject(entry) ? entry : {};
    if (typeof name === 'string' && typeof template === 'string') templates.set(name, template);
  }
  const file = await readText(joinPath(folder, 'chat_template.jinja'));
  if (file !== undefined) templates.set('default', file);
  return templates;
}
