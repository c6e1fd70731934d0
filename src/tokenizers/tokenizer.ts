/**
 * Text to token ids and back, with the padding and truncation rules of transformers' tokenizers.
 * The vocabulary algorithms (BPE, Unigram, WordPiece) come from `@huggingface/tokenizers`; reading files and correcting
 * definitions are in the neighbouring files. What a prompt should look like is the pipelines' business.
 */

import { withTimeLimit } from '#tokenizers/time-limit';
import { DejaDitError } from '../errors/errors.ts';
import { type ChatMessage, type ChatTemplateOptions, renderChatTemplate } from './chat-template.ts';
import { isTokenId, type TokenizerDefinition } from './definition.ts';
import { exactDefinition } from './exact-definition.ts';
import type { JsonObject } from './json-files.ts';
import { boundGrowth, checkLimits, checkText, longestText, type Steps } from './limits.ts';
import { precompiledCharsmap } from './precompiled-charsmap.ts';
import { readTokenizerFiles, type TokenizerFiles, type TokenizerSettings } from './tokenizer-files.ts';

export interface PaddingOptions {
  /** Tokens per row, special ones included. Default: the tokenizer's `modelMaxLength`. */
  maxLength?: number;
  /** `'max_length'`: pad to `maxLength`; `'longest'`: to the longest row of this call; `false` (default): not at all. */
  padding?: 'max_length' | 'longest' | false;
  /** Default: the tokenizer's own, which is `'right'` unless its config says otherwise. */
  paddingSide?: 'left' | 'right';
}

export interface TokenizeOptions extends PaddingOptions {
  /** Cut rows to `maxLength`, keeping the special tokens at both ends. Default false. */
  truncation?: boolean;
  /** Add what the model expects around a text (`</s>`, ...). Default true. */
  addSpecialTokens?: boolean;
}

export interface TokenizedTexts {
  /** One row of ids per text. */
  inputIds: number[][];
  /** 1 for a token, 0 for padding; same shape as `inputIds`. */
  attentionMask: number[][];
  /** Per text the part that truncation cut away, decoded, for a warning; empty if nothing was lost. */
  truncated: string[];
}

/** What this file uses of the library's tokenizer (whose own types do not resolve in ESM projects). */
interface Engine extends Steps {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[]; tokens: string[] };
  decode(ids: number[], options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean }): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  model: Steps['model'] & { end_of_word_suffix?: string | null };
  post_processor: { post_process(tokens: string[], pair: null, add: boolean): { tokens: string[] } } | null;
}

/**
 * Loads a tokenizer from a folder in Hugging Face layout: tokenizer.json, or vocab.json with merges.txt for CLIP and
 * Qwen2, or spiece.model for T5; beside it tokenizer_config.json, special_tokens_map.json and chat_template.jinja where they exist.
 *
 * @throws DejaDitError `NOT_FOUND` without such files, `INVALID_FILE` or `INVALID_CONFIG` for broken ones, `UNSUPPORTED`
 * for steps or formats this engine does not know. Each names the file.
 * @example
 * const tokenizer = await loadTokenizer(`${path}/tokenizer`);
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const [files, { Tokenizer: EngineClass }] = await Promise.all([
    readTokenizerFiles(folder),
    import('@huggingface/tokenizers') as Promise<{ Tokenizer: new (definition: object, config: object) => Engine }>,
  ]);
  const { path, definition } = files;
  checkLimits(definition, path);
  try {
    // Ten times what a slow machine needs: 100,000 entries take about 200 ms.
    const milliseconds = 2000 + vocabularySize(definition) / 50;
    return withTimeLimit(() => build(files, EngineClass), { milliseconds, task: 'building the tokenizer', path });
  } catch (cause) {
    if (cause instanceof DejaDitError && cause.path !== undefined) throw cause;
    const { message } = cause as Error;
    const unknownStep = message.startsWith('Unknown ');
    throw new DejaDitError(unknownStep ? 'UNSUPPORTED' : 'INVALID_FILE', `cannot be used as a tokenizer: ${message}`, {
      path,
      cause,
    });
  }
}

function build(files: TokenizerFiles, EngineClass: new (definition: object, config: object) => Engine): Tokenizer {
  const definition = exactDefinition(files.definition);
  const engine = new EngineClass(definition, {});
  useExactCharsmaps(engine, definition);
  boundGrowth(engine);
  return new Tokenizer(files, engine);
}

/** Entries that take time to index. */
function vocabularySize({ model: { vocab, merges } }: TokenizerDefinition): number {
  return [vocab, merges].reduce<number>((sum, entries) => sum + Object.keys(entries ?? {}).length, 0);
}

/** The library approximates `Precompiled` steps by one fixed set of rules and never looks at the map. */
function useExactCharsmaps(engine: Engine, definition: TokenizerDefinition): void {
  const steps = (definition.normalizer?.['normalizers'] ?? []) as JsonObject[];
  for (const [i, step] of steps.entries()) {
    if (step['type'] !== 'Precompiled') continue;
    engine.normalizer!.normalizers[i] = { normalize: precompiledCharsmap(String(step['precompiled_charsmap'])) };
  }
}

/**
 * Texts to token ids, as the tokenizer of Transformers that the files describe.
 * @example
 * const tokenizer: Tokenizer = await loadTokenizer('path/to/tokenizer');
 * const maximum = tokenizer.modelMaxLength;
 */
export class Tokenizer {
  /** Most tokens that the model takes, special ones included; Infinity where the files set no limit. */
  readonly modelMaxLength: number;
  readonly bosTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  /** Undefined for a tokenizer without a pad token; padding is then an error. */
  readonly padTokenId: number | undefined;

  readonly #engine: Engine;
  readonly #path: string;
  readonly #settings: TokenizerSettings;
  readonly #specials: { prefix: number[]; suffix: number[] };
  readonly #modelType: unknown;
  readonly #byteFallback: boolean;

  /** Use `loadTokenizer`. */
  constructor({ path, definition, settings }: TokenizerFiles, engine: Engine) {
    this.#engine = engine;
    this.#path = path;
    this.#settings = settings;
    this.#modelType = definition.model['type'];
    this.#byteFallback = this.#modelType === 'Unigram' && definition.model['byte_fallback'] === true;
    const id = (token: string | undefined) => (token === undefined ? undefined : engine.token_to_id(token));
    this.modelMaxLength = settings.modelMaxLength;
    this.bosTokenId = id(settings.bosToken);
    this.eosTokenId = id(settings.eosToken);
    this.padTokenId = id(settings.padToken);
    this.#specials = this.#specialTokens();
    // From here on special tokens are put around texts by hand.
    engine.post_processor = null;
  }

  /** The id of a token's exact text (`'<|endoftext|>'`), or undefined if the vocabulary does not have it. */
  tokenId(token: string): number | undefined {
    return this.#engine.token_to_id(token);
  }

  /** Ids of one text with the special tokens around it, neither padded nor cut. */
  encode(text: string): number[] {
    const { prefix, suffix } = this.#specials;
    return [...prefix, ...this.#encodeText(text), ...suffix];
  }

  /**
   * Ids and attention mask of one or several texts.
   *
   * @throws DejaDitError `INVALID_ARGUMENT` for a `maxLength` that cannot hold the special tokens, for padding without a
   * pad token or without any length to pad to, and for texts above 100,000 characters.
   */
  tokenize(texts: string | string[], options: TokenizeOptions = {}): TokenizedTexts {
    const { truncation = false, addSpecialTokens = true } = options;
    const maxLength = options.maxLength ?? this.modelMaxLength;
    const { prefix, suffix } = addSpecialTokens ? this.#specials : { prefix: [], suffix: [] };
    const room = maxLength - prefix.length - suffix.length;
    if (!(room >= 0)) {
      throw this.#invalid(
        `maxLength ${maxLength} is too short for the ${prefix.length + suffix.length} special tokens of a text`,
      );
    }
    const truncated: string[] = [];
    const rows = [texts].flat().map((text) => {
      const ids = this.#encodeText(text);
      const excess = truncation ? Math.max(0, ids.length - room) : 0;
      const [from, to] = this.#settings.truncationSide === 'left' ? [excess, ids.length] : [0, ids.length - excess];
      truncated.push(excess === 0 ? '' : this.decode([...ids.slice(0, from), ...ids.slice(to)]));
      return [...prefix, ...ids.slice(from, to), ...suffix];
    });
    return { ...this.pad(rows, { ...options, maxLength }), truncated };
  }

  /**
   * Rows of ids, each 1 in the mask, padded to one length.
   * @throws DejaDitError as `tokenize`
   */
  pad(
    rows: number[][],
    { padding = false, maxLength = this.modelMaxLength, paddingSide: side }: PaddingOptions,
  ): Pick<TokenizedTexts, 'inputIds' | 'attentionMask'> {
    const ones = rows.map((row) => new Array<number>(row.length).fill(1));
    if (!padding) return { inputIds: rows, attentionMask: ones };
    const length = padding === 'longest' ? rows.reduce((longest, row) => Math.max(longest, row.length), 0) : maxLength;
    if (length === Infinity)
      throw this.#invalid('has no length limit of its own: padding to max_length needs maxLength');
    if (padding === 'max_length' && length > longestText)
      throw this.#invalid(
        `padding to ${length} tokens is more than a text can have; maxLength takes at most ${longestText}`,
      );
    const pad = this.padTokenId;
    if (pad === undefined) throw this.#invalid('has no pad token in its vocabulary, so texts cannot be padded');
    const left = (side ?? this.#settings.paddingSide) === 'left';
    const fill = (row: number[], value: number) => {
      const rest = new Array<number>(Math.max(0, length - row.length)).fill(value);
      return left ? [...rest, ...row] : [...row, ...rest];
    };
    return { inputIds: rows.map((row) => fill(row, pad)), attentionMask: ones.map((row) => fill(row, 0)) };
  }

  /** Ids back to text. Ids that the vocabulary does not have are left out, as transformers does. */
  decode(ids: readonly number[], { skipSpecialTokens = false }: { skipSpecialTokens?: boolean } = {}): string {
    const known = ids.filter((id) => this.#engine.id_to_token(id) !== undefined);
    if (known.length === 0) return '';
    const options = {
      skip_special_tokens: skipSpecialTokens,
      clean_up_tokenization_spaces: this.#settings.cleanUpTokenizationSpaces && this.#modelType !== 'BPE',
    };
    const decode = () => this.#engine.decode(known, options);
    const text = this.#bounded(decode, { task: `decoding ${known.length} tokens`, size: known.length });
    return this.#engine.model.end_of_word_suffix ? text.trim() : text;
  }

  /**
   * Renders a conversation with the chat template of the tokenizer (Jinja), as text to be given to `tokenize`.
   *
   * @throws DejaDitError `NOT_FOUND` if the tokenizer has no such template, `INVALID_ARGUMENT` if rendering fails.
   */
  async applyChatTemplate(messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): Promise<string> {
    for (const { content } of messages) if (typeof content === 'string') checkText(content, this.#path);
    return renderChatTemplate({ messages, options, settings: this.#settings, path: this.#path });
  }

  #encodeText(text: string): number[] {
    checkText(text, this.#path);
    const task = `splitting a text of ${text.length} characters`;
    const encode = () => this.#engine.encode(text, { add_special_tokens: false });
    const { ids, tokens } = this.#bounded(encode, { task, size: text.length });
    const known = this.#byteFallback ? ids.flatMap((id, i) => this.#unknownAsBytes(id, tokens[i]!)) : ids;
    const unknown = known.findIndex((id) => !isTokenId(id));
    if (unknown < 0) return known as number[];
    throw new DejaDitError('INVALID_FILE', `has neither an id for '${tokens[unknown]}' nor one for unknown tokens`, {
      path: this.#path,
    });
  }

  /** What the definition in the file computes, in bounded time; whatever goes wrong in it is the file's fault. */
  #bounded<T>(run: () => T, { task, size }: { task: string; size: number }): T {
    const path = this.#path;
    // A prompt takes less than a millisecond, the longest text up to two seconds.
    try {
      return withTimeLimit(run, { milliseconds: 1000 + size / 5, task, path });
    } catch (cause) {
      if (cause instanceof DejaDitError) throw cause;
      throw new DejaDitError('INVALID_FILE', `${task} failed: ${(cause as Error).message}`, { path, cause });
    }
  }

  /** A Unigram model with byte fallback spells unknown characters as UTF-8 bytes; the library only does so for BPE. */
  #unknownAsBytes(id: number | undefined, token: string): number | undefined | number[] {
    if (this.#engine.token_to_id(token) !== undefined) return id;
    const bytes = [...new TextEncoder().encode(token)].map((byte) => this.tokenId(byteToken(byte)));
    return bytes.every((byte) => byte !== undefined) ? bytes : id;
  }

  /** Which special tokens go before and after a text: by config where it says so, else by running the definition. */
  #specialTokens(): { prefix: number[]; suffix: number[] } {
    const { addBosToken, addEosToken } = this.#settings;
    if (addBosToken !== undefined || addEosToken !== undefined) {
      const present = (id: number | undefined) => (id === undefined ? [] : [id]);
      return {
        prefix: addBosToken ? present(this.bosTokenId) : [],
        suffix: addEosToken ? present(this.eosTokenId) : [],
      };
    }
    const marker = 'text';
    const tokens = this.#engine.post_processor?.post_process([marker], null, true).tokens ?? [marker];
    const at = tokens.indexOf(marker);
    const ids = (some: string[]) =>
      some.map((token) => {
        const id = this.tokenId(token);
        if (id !== undefined) return id;
        throw new DejaDitError('INVALID_FILE', `the special token '${token}' is not in the vocabulary`, {
          path: this.#path,
        });
      });
    return { prefix: ids(tokens.slice(0, at)), suffix: ids(tokens.slice(at + 1)) };
  }

  #invalid(message: string): DejaDitError {
    return new DejaDitError('INVALID_ARGUMENT', message, { path: this.#path });
  }
}

function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
}
