/**
 * Makes a tokenizer definition out of vocab.json + merges.txt or spiece.model, for repositories that were saved without
 * a tokenizer.json, or for ByT5, which needs no files. The steps around the vocabulary are not in those files; they are fixed by the tokenizer class.
 */
import { DejaDitError } from '../errors/errors.ts';
import { joinPath } from '../files/paths.ts';
import { byteDefinition } from './byte-definition.ts';
import { type AddedToken, addedToken, checkIds, isTokenId, type TokenizerDefinition, tokenText } from './definition.ts';
import { isObject, type JsonObject, readBytes, readJson, readText } from './json-files.ts';
import { parseSentencePiece, t5Definition } from './sentencepiece.ts';

export interface VocabularyRequest {
  folder: string;
  /** Tokenizer class from tokenizer_config.json, without the `Fast` suffix. */
  className: string;
  /** tokenizer_config.json over special_tokens_map.json over the defaults of the class. */
  tokens: JsonObject;
}

export interface FoundDefinition {
  path: string;
  definition: TokenizerDefinition;
}

export async function definitionFromVocabulary(request: VocabularyRequest): Promise<FoundDefinition> {
  if (request.className === 'ByT5Tokenizer') {
    const path = joinPath(request.folder, 'tokenizer_config.json');
    return { path, definition: byteDefinition({ extraIds: extraIdsOf(request, 125) }) };
  }
  const found = (await fromMerges(request)) ?? (await fromSentencePiece(request));
  if (found !== undefined) return found;
  throw new DejaDitError('NOT_FOUND', 'holds neither tokenizer.json nor vocab.json with merges.txt nor spiece.model', {
    path: request.folder,
  });
}

/** T5 has 100 of them, ByT5 125, UMT5 300. */
const mostExtraIds = 10_000;

function extraIdsOf({ folder, tokens }: Pick<VocabularyRequest, 'folder' | 'tokens'>, fallback: number): number {
  const extraIds = tokens['extra_ids'] ?? fallback;
  if (isTokenId(extraIds) && extraIds <= mostExtraIds) return extraIds;
  throw new DejaDitError('INVALID_CONFIG', `extra_ids must be an integer up to ${mostExtraIds}, got ${extraIds}`, {
    path: joinPath(folder, 'tokenizer_config.json'),
  });
}

async function fromSentencePiece({
  folder,
  className,
  tokens,
}: VocabularyRequest): Promise<FoundDefinition | undefined> {
  for (const name of ['spiece.model', 'tokenizer.model', 'sentencepiece.bpe.model']) {
    const path = joinPath(folder, name);
    const bytes = await readBytes(path);
    if (bytes === undefined) continue;
    if (className !== 'T5Tokenizer') throw unsupported({ folder, className, files: name });
    const extraIds = extraIdsOf({ folder, tokens }, 100);
    const specials = specialTokens(tokens).map(({ content }) => content);
    const definition = t5Definition(parseSentencePiece(bytes, path), { extraIds, specialTokens: specials });
    return { path, definition };
  }
  return undefined;
}

async function fromMerges({ folder, className, tokens }: VocabularyRequest): Promise<FoundDefinition | undefined> {
  const path = joinPath(folder, 'vocab.json');
  const vocab = await readJson(path);
  const merges = await readText(joinPath(folder, 'merges.txt'));
  if (vocab === undefined || merges === undefined) return undefined;
  const build = builders[className];
  if (build === undefined) throw unsupported({ folder, className, files: 'vocab.json and merges.txt' });
  const addedPath = joinPath(folder, 'added_tokens.json');
  const extra = (await readJson(addedPath)) ?? {};
  checkIds(vocab, path);
  checkIds(extra, addedPath);
  const ids = { ...vocab, ...extra };
  const tokensByText = new Map<string, JsonObject & { content: string }>(
    Object.keys(extra).map((content) => [content, { content }]),
  );
  for (const token of specialTokens(tokens)) tokensByText.set(token.content, token);
  const added = [...tokensByText.values()]
    .filter(({ content }) => Object.hasOwn(ids, content))
    .map((token) => addedToken(ids[token.content]!, { normalized: false, ...token, special: true }));
  // The first line of merges.txt is a version comment; later lines may begin with '#' as a merge.
  const lines = merges.split(/\r?\n/).filter((line, i) => line !== '' && !(i === 0 && line.startsWith('#version')));
  return { path, definition: build({ vocab, merges: lines, added, tokens }) };
}

interface Vocabulary {
  vocab: Record<string, number>;
  merges: string[];
  added: AddedToken[];
  tokens: JsonObject;
}

const builders: Record<string, (vocabulary: Vocabulary) => TokenizerDefinition> = {
  CLIPTokenizer: ({ vocab, merges, added, tokens }) => {
    const bos = String(tokenText(tokens['bos_token']));
    const eos = String(tokenText(tokens['eos_token']));
    return {
      added_tokens: added,
      normalizer: {
        type: 'Sequence',
        normalizers: [
          { type: 'NFC' },
          { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
          { type: 'Lowercase' },
        ],
      },
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [
          {
            type: 'Split',
            pattern: { Regex: "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+" },
            behavior: 'Removed',
            invert: true,
          },
          { type: 'ByteLevel', use_regex: false },
        ],
      },
      post_processor: { type: 'RobertaProcessing', cls: [bos, vocab[bos]], sep: [eos, vocab[eos]] },
      decoder: { type: 'ByteLevel' },
      model: { type: 'BPE', vocab, merges, unk_token: tokenText(tokens['unk_token']), end_of_word_suffix: '</w>' },
    };
  },
  Qwen2Tokenizer: ({ vocab, merges, added }) => ({
    added_tokens: added,
    normalizer: { type: 'NFC' },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        {
          type: 'Split',
          pattern: {
            Regex:
              "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
          },
          behavior: 'Isolated',
          invert: false,
        },
        { type: 'ByteLevel', use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab, merges, unk_token: null },
  }),
};

/** Every special token that the configs name, single or in lists, with the flags given there. */
function specialTokens(tokens: JsonObject): (JsonObject & { content: string })[] {
  const named = Object.keys(tokens).filter((name) => name.endsWith('_token'));
  const listed = ['additional_special_tokens', 'extra_special_tokens'].flatMap((name) => {
    const list = tokens[name];
    return Array.isArray(list) ? list : isObject(list) ? Object.values(list) : [];
  });
  return [...named.map((name) => tokens[name]), ...listed].flatMap((token) => {
    const content = tokenText(token);
    return content === undefined ? [] : [{ ...(isObject(token) ? token : {}), content }];
  });
}

function unsupported({ folder, className, files }: { folder: string; className: string; files: string }): DejaDitError {
  return new DejaDitError(
    'UNSUPPORTED',
    `cannot build tokenizer class '${className}' from ${files}; save a tokenizer.json beside it ` +
      '(transformers: AutoTokenizer.from_pretrained(folder).save_pretrained(folder))',
    { path: folder },
  );
}
