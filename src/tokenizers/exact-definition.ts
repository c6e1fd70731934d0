/**
 * Rewrites a tokenizer definition into steps that the JavaScript tokenizer library computes exactly as the original
 * (Rust) one. Where the library uses JavaScript's idea of white space, digits or lower case, or does not know a step,
 * an equivalent step that it does exactly stands in. Everything else passes through untouched.
 */
import type { TokenizerDefinition } from './definition.ts';
import type { JsonObject } from './json-files.ts';

/** GPT-2's word pattern, which a ByteLevel step applies unless told not to. */
const byteLevelWords = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

export function exactDefinition(definition: TokenizerDefinition): TokenizerDefinition {
  const { normalizer, pre_tokenizer } = definition;
  return {
    ...definition,
    normalizer: normalizer && { type: 'Sequence', normalizers: exactNormalizers(normalizer) },
    pre_tokenizer: pre_tokenizer && { type: 'Sequence', pretokenizers: exactPreTokenizers(pre_tokenizer) },
  };
}

function exactNormalizers(step: JsonObject): JsonObject[] {
  switch (step['type']) {
    case 'Sequence':
      return children(step, 'normalizers').flatMap(exactNormalizers);
    case 'Nmt':
      // Machine translation's clean-up: control characters go, every kind of space becomes a plain one.
      return [
        replace({ Regex: '[\\x01-\\x08\\x0b\\x0e-\\x1f\\x7f\\x8f\\x9f]' }, ''),
        replace({ Regex: '[\\x09\\x0a\\x0c\\x0d\\u1680\\u200b-\\u200f\\u2028\\u2029\\u2581\\ufeff\\ufffd]' }, ' '),
      ];
    case 'Lowercase':
      return [lowerSigma, step];
    case 'BertNormalizer':
      return step['lowercase'] === true ? [lowerSigma, step] : [step];
    default:
      return [step];
  }
}

/** Rust lower-cases one character at a time, JavaScript turns a word's last capital sigma into the final form. */
const lowerSigma = replace({ String: 'Σ' }, 'σ');

function exactPreTokenizers(step: JsonObject): JsonObject[] {
  switch (step['type']) {
    case 'Sequence':
      return children(step, 'pretokenizers').flatMap(exactPreTokenizers);
    case 'WhitespaceSplit':
      return [keep('\\S+')];
    case 'Whitespace':
      return [keep('\\w+|[^\\w\\s]+')];
    case 'Digits':
      return [isolate(step['individual_digits'] === true ? '\\p{N}' : '\\p{N}+')];
    case 'ByteLevel':
      // A prefix space is added before splitting, so such a step has to stay in one piece.
      return (step['use_regex'] ?? true) && !step['add_prefix_space']
        ? [isolate(byteLevelWords), { ...step, use_regex: false }]
        : [step];
    default:
      return [step];
  }
}

function children(step: JsonObject, name: string): JsonObject[] {
  return (step[name] ?? []) as JsonObject[];
}

function replace(pattern: JsonObject, content: string): JsonObject {
  return { type: 'Replace', pattern, content };
}

/** Keeps what matches and drops the rest. */
function keep(pattern: string): JsonObject {
  return { type: 'Split', pattern: { Regex: pattern }, behavior: 'Removed', invert: true };
}

/** Cuts at both ends of every match and keeps everything. */
function isolate(pattern: string): JsonObject {
  return { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false };
}
