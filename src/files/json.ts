/** JSON from files that may be hostile: bounds on size, depth and number of values, duplicate keys, clear errors. */
import { DejaDitError } from '../errors/errors.ts';
import { quote } from '../errors/printable.ts';
import { describeContent } from './content.ts';
import { readFileText } from './files.ts';

/** Far above configs and indices of shards. Tokenizers are larger and say so. */
const defaultMaxBytes = 32_000_000;
/** What people write nests to a depth of ten. Deeper text would overflow the stack of whoever walks through the result. */
const maxDepth = 64;
/** A tokenizer of 262,144 tokens has two millions; a hundred bytes each in memory stay below half a gigabyte. */
const maxValues = 4_000_000;

export type JsonObject = Record<string, unknown>;

export interface ParseJsonOptions {
  /** The file it is from, for messages. */
  path: string;
  /** What in that file is JSON, if not all of it: `the header`. */
  subject?: string;
  /** Refuse objects that have a key twice, which `JSON.parse` would settle silently. Default false. */
  uniqueKeys?: boolean;
}

export interface ReadJsonOptions {
  uniqueKeys?: boolean;
  /** Default 32 MB. */
  maxBytes?: number;
}

/**
 * The JSON object in a file.
 * @throws DejaDitError `NOT_FOUND` without such a file, `INVALID_FILE` if it holds anything but a JSON object, or one that is too
 *   large or too deep
 */
export async function readJsonFile(
  path: string,
  { uniqueKeys = false, maxBytes = defaultMaxBytes }: ReadJsonOptions = {},
): Promise<JsonObject> {
  return parseJson(await readFileText(path, { maxBytes }), { path, uniqueKeys });
}

/**
 * A JSON object, read as `parseJsonValue` does.
 * @throws DejaDitError `INVALID_FILE`
 */
export function parseJson(text: string, options: ParseJsonOptions): JsonObject {
  const value = parseJsonValue(text, options);
  if (isPlainObject(value)) return value;
  throw invalid('must hold a JSON object', options);
}

/**
 * Any JSON value. Python's json writes infinities and NaN, which JSON has not. Infinities (scheduler configs use them for "no limit") are
 * read as such; NaN becomes a word, so that whoever asks for a number refuses it.
 * @throws DejaDitError `INVALID_FILE`
 */
export function parseJsonValue(text: string, options: ParseJsonOptions): unknown {
  const bad = (message: string, cause?: unknown) => invalid(message, options, cause);
  const { excess, nonFinite } = survey(text);
  if (excess !== undefined) throw bad(excess);
  let value: unknown;
  try {
    value = JSON.parse(withoutNonFinite(text, nonFinite));
  } catch (cause) {
    const foreign = describeContent(text);
    if (foreign !== undefined) throw bad(foreign);
    throw bad(`is not valid JSON (${quote((cause as Error).message)})`, cause);
  }
  const duplicate = options.uniqueKeys ? firstDuplicateKey(text) : undefined;
  if (duplicate !== undefined) throw bad(`has the key ${quote(duplicate)} twice`);
  return value;
}

function invalid(message: string, { path, subject }: ParseJsonOptions, cause?: unknown): DejaDitError {
  const text = subject === undefined ? message : `${subject} ${message}`;
  return new DejaDitError('INVALID_FILE', text, { path, cause });
}

export function isPlainObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

interface Survey {
  /** Why the text is not to be parsed. */
  excess?: string;
  /** Where a number is that JSON has not, and what stands for it. */
  nonFinite: readonly { start: number; end: number; instead: string }[];
}

/** One pass over the text before anything is built from it. */
function survey(text: string): Survey {
  const nonFinite: { start: number; end: number; instead: string }[] = [];
  let depth = 0;
  let values = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text[i]) {
      case '"':
        i = endOfString(text, i);
        break;
      case '[':
      case '{':
        values++;
        if (++depth > maxDepth) return { excess: `nests deeper than ${maxDepth} levels`, nonFinite };
        break;
      case ']':
      case '}':
        depth--;
        break;
      case ',':
        values++;
        break;
      case 'N':
      case 'I': {
        const word = ['NaN', 'Infinity'].find((name) => text.startsWith(name, i));
        if (word === undefined) break;
        nonFinite.push({ start: i, end: i + word.length, instead: word === 'NaN' ? '"NaN"' : '1e999' });
        values++;
        i += word.length - 1;
      }
    }
    if (values > maxValues) return { excess: `holds more than ${maxValues} values`, nonFinite };
  }
  return { nonFinite };
}

function withoutNonFinite(text: string, places: Survey['nonFinite']): string {
  let end = 0;
  const pieces = places.map((place) => {
    const piece = text.slice(end, place.start) + place.instead;
    end = place.end;
    return piece;
  });
  return pieces.join('') + text.slice(end);
}

/**
 * The first key that some object of `json` has twice. `JSON.parse` keeps the last of them without a word, other
 * readers the first, so a file with one means different things to different programs.
 * @param json text that `JSON.parse` has accepted
 */
function firstDuplicateKey(json: string): string | undefined {
  // One entry per open bracket: the keys seen so far of an object, nothing for an array.
  const open: (Set<string> | undefined)[] = [];
  let expectsKey = false;
  for (let i = 0; i < json.length; i++) {
    switch (json[i]) {
      case '{':
        open.push(new Set());
        expectsKey = true;
        break;
      case '[':
        open.push(undefined);
        expectsKey = false;
        break;
      case '}':
      case ']':
        open.pop();
        expectsKey = false;
        break;
      case ',':
        expectsKey = open.at(-1) !== undefined;
        break;
      case '"': {
        const end = endOfString(json, i);
        const keys = open.at(-1);
        if (expectsKey && keys !== undefined) {
          const key: string = JSON.parse(json.slice(i, end + 1));
          if (keys.has(key)) return key;
          keys.add(key);
          expectsKey = false;
        }
        i = end;
      }
    }
  }
  return undefined;
}

/** Where the string that begins at `start` ends: its closing quote, or the end of a text that has none. */
function endOfString(json: string, start: number): number {
  for (let end = json.indexOf('"', start + 1); end >= 0; end = json.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (json[end - 1 - backslashes] === '\\') backslashes++;
    if (backslashes % 2 === 0) return end;
  }
  return json.length;
}
