/**
 * How much a tokenizer definition may ask for: far above every real tokenizer, and little enough that a file made to exhaust memory
 * is refused, either before anything is built from it or at the step that makes a text grow. Time is bounded by `time-limit.ts`.
 */
import { DejaDitError } from '../errors/errors.ts';
import type { TokenizerDefinition } from './definition.ts';
import { isObject, type JsonObject } from './json-files.ts';

/** For `withTimeLimit`. */
export interface TimeLimit {
  milliseconds: number;
  /** What is being done, for the message: `splitting a text of 12 characters`. */
  task: string;
  /** The file that says how. */
  path: string;
}

/** Characters of a text. No text encoder reads that much. */
export const longestText = 100_000;

/** Characters, and pieces, that normalizers, pre-tokenizers and decoders may make of one. */
const grownText = 1_000_000;

/** Nodes of the lattice in which a Unigram model looks for the best pieces of a word. */
const latticeNodes = 1_000_000;

const most = {
  /** Gemma has 262,144. */
  vocabulary: 500_000,
  /** Gemma has 580,604. */
  merges: 1_000_000,
  /** Gemma has 6,415 with 70,000 characters. */
  addedTokens: 100_000,
  addedCharacters: 1_000_000,
  /** SentencePiece cuts pieces at 16. */
  pieceCharacters: 128,
  /** mT5 has about 2 million. */
  unigramCharacters: 4_000_000,
  steps: 1_000,
  depth: 32,
  patternCharacters: 10_000,
  charsmapCharacters: 8_000_000,
  otherCharacters: 256,
};

/**
 * Refuses what is no text, or none that a tokenizer takes.
 * @throws DejaDitError `INVALID_ARGUMENT`
 */
export function checkText(text: unknown, path: string): asserts text is string {
  const fail = (message: string) => new DejaDitError('INVALID_ARGUMENT', message, { path });
  if (typeof text !== 'string') throw fail(`expected a string, got ${text === null ? 'null' : typeof text}`);
  if (text.length > longestText)
    throw fail(`a text of ${text.length} characters is too long, at most ${longestText} are taken`);
  const half = halfCharacter(text);
  if (half !== undefined) throw fail(half);
}

/** What is wrong with a text that has a lone surrogate. */
export function halfCharacter(text: string): string | undefined {
  const half = text.search(/\p{Surrogate}/u);
  if (half < 0) return undefined;
  const code = text.charCodeAt(half).toString(16);
  return `has half a character (the lone surrogate U+${code.toUpperCase()}) at position ${half}`;
}

/**
 * Refuses a definition that asks for too much, or for steps that make no progress.
 * @throws DejaDitError `INVALID_FILE`
 */
export function checkLimits(definition: TokenizerDefinition, path: string): void {
  const { model, added_tokens } = definition;
  const fail = (message: string) => new DejaDitError('INVALID_FILE', message, { path });
  const atMost = (limit: number, count: number, what: string) => {
    if (count > limit) throw fail(`has ${count} ${what}; a tokenizer may have ${limit}`);
  };
  const { vocab, merges } = model;
  if (Array.isArray(vocab)) {
    let characters = 0;
    for (const [i, entry] of vocab.entries()) {
      const [piece, score] = Array.isArray(entry) ? entry : [];
      if (typeof piece !== 'string' || typeof score !== 'number')
        throw fail(`model.vocab[${i}] must be a piece with its score`);
      atMost(most.pieceCharacters, piece.length, `characters in the piece model.vocab[${i}]`);
      characters += piece.length;
    }
    atMost(most.vocabulary, vocab.length, 'pieces');
    atMost(most.unigramCharacters, characters, 'characters in its pieces');
  } else if (isObject(vocab)) {
    atMost(most.vocabulary, Object.keys(vocab).length, 'tokens');
  }
  if (Array.isArray(merges)) atMost(most.merges, merges.length, 'merges');
  atMost(most.addedTokens, added_tokens.length, 'added tokens');
  const addedCharacters = added_tokens.reduce((sum, { content }) => sum + content.length, 0);
  atMost(most.addedCharacters, addedCharacters, 'characters in its added tokens');

  let steps = 0;
  const check = (value: unknown, name: string, depth: number): void => {
    if (depth > most.depth) throw fail(`nests ${name.split('.')[0]} deeper than ${most.depth} levels`);
    if (typeof value === 'string') {
      const key = name.slice(name.lastIndexOf('.') + 1);
      const limit =
        { Regex: most.patternCharacters, precompiled_charsmap: most.charsmapCharacters }[key] ?? most.otherCharacters;
      atMost(limit, value.length, `characters in ${name}`);
    } else if (Array.isArray(value) || isObject(value)) {
      if (isObject(value) && 'type' in value) atMost(most.steps, ++steps, 'steps');
      for (const [key, part] of Object.entries(value)) check(part, `${name}.${key}`, depth + 1);
    }
  };
  for (const name of ['normalizer', 'pre_tokenizer', 'post_processor', 'decoder'] as const) {
    check(definition[name], name, 0);
    for (const step of stepsOf(definition[name])) checkStep(step, fail);
  }
}

/** The library would skip a step without a pattern, never leave one of length 0, and run templates as often as they name the text. */
function checkStep(step: JsonObject, fail: (message: string) => DejaDitError): void {
  const { type, pattern, length, single } = step;
  if (type === 'Split' || type === 'Replace') {
    const { Regex, String: text } = isObject(pattern) ? pattern : {};
    if (typeof (Regex ?? text) !== 'string')
      throw fail(`a ${type} step needs a 'pattern' with a 'Regex' or a 'String'`);
  }
  if (type === 'FixedLength' && !(Number.isInteger(length) && (length as number) > 0))
    throw fail(`a FixedLength step needs a positive integer 'length', got ${length}`);
  if (type !== 'TemplateProcessing') return;
  const texts = Array.isArray(single) ? single.filter((item) => isObject(item) && 'Sequence' in item).length : 0;
  if (texts !== 1) throw fail(`a TemplateProcessing step must name the text once in 'single', not ${texts} times`);
}

/** A step and all steps in it. */
function stepsOf(step: JsonObject | null): JsonObject[] {
  if (step === null) return [];
  const inner = ['normalizers', 'pretokenizers', 'processors', 'decoders'].flatMap((name) => step[name] ?? []);
  return [step, ...inner.filter(isObject).flatMap(stepsOf)];
}

type Step<Input, Output> = (input: Input, ...rest: unknown[]) => Output;

/** The parts of the library's tokenizer through which texts go. */
export interface Steps {
  normalizer: { normalizers: { normalize: Step<string, string> }[] } | null;
  pre_tokenizer: { tokenizers: { pre_tokenize: Step<string | string[], string[]> }[] } | null;
  decoder: Decoder | null;
  model: { populate_nodes?: (lattice: { insert(...node: number[]): void }) => void };
}

interface Decoder {
  decode_chain: Step<string[], string[]>;
  decoders?: Decoder[];
}

/** Makes every step throw a RangeError where it makes a text grow beyond all measure. */
export function boundGrowth({ normalizer, pre_tokenizer, decoder, model }: Steps): void {
  for (const step of normalizer?.normalizers ?? []) step.normalize = bounded(step.normalize.bind(step));
  for (const step of pre_tokenizer?.tokenizers ?? []) step.pre_tokenize = bounded(step.pre_tokenize.bind(step));
  if (decoder) boundDecoder(decoder);
  const populate = model.populate_nodes?.bind(model);
  if (populate) model.populate_nodes = (lattice) => populate(boundedLattice(lattice));
}

function boundDecoder(decoder: Decoder): void {
  decoder.decode_chain = bounded(decoder.decode_chain.bind(decoder));
  decoder.decoders?.forEach(boundDecoder);
}

function bounded<Input, Output extends string | string[]>(step: Step<Input, Output>): Step<Input, Output> {
  return (input, ...rest) => {
    const output = step(input, ...rest);
    const size = typeof output === 'string' ? output.length : output.reduce((sum, { length }) => sum + length + 1, 0);
    if (size > grownText) throw new RangeError(`a step makes more than ${grownText} characters of the text`);
    return output;
  };
}

function boundedLattice<Lattice extends { insert(...node: number[]): void }>(lattice: Lattice): Lattice {
  const insert = lattice.insert.bind(lattice);
  let nodes = 0;
  lattice.insert = (...node) => {
    if (++nodes > latticeNodes) throw new RangeError(`a word has more than ${latticeNodes} places for pieces`);
    insert(...node);
  };
  return lattice;
}
