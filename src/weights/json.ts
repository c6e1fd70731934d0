/** JSON from files that may be hostile: reading with clear errors, duplicate keys, and quoting of what was found. */
import { readFile, stat } from 'node:fs/promises';
import { DejaDitError } from '../errors/errors.ts';
import { describeContent } from './foreign-files.ts';

/** Far above any config or tokenizer, far below what would hurt. */
const maxJsonBytes = 200_000_000;

export interface ReadJsonOptions {
  /** Refuse objects that have a key twice, which `JSON.parse` would settle silently. Default false. */
  uniqueKeys?: boolean;
}

/**
 * The JSON object in a file.
 * @throws DejaDitError `NOT_FOUND` without such a file, `INVALID_FILE` if it holds anything but a JSON object
 */
export async function readJsonFile(path: string, options: ReadJsonOptions = {}): Promise<Record<string, unknown>> {
  let value: unknown;
  const text = await readText(path);
  try {
    value = JSON.parse(withoutInfinities(text));
  } catch (cause) {
    const foreign = describeContent(Buffer.from(text.slice(0, 8), 'latin1'));
    if (foreign !== undefined) throw new DejaDitError('INVALID_FILE', foreign, { path });
    throw new DejaDitError('INVALID_FILE', `is not valid JSON (${quote((cause as Error).message)})`, { path, cause });
  }
  if (!isPlainObject(value)) throw new DejaDitError('INVALID_FILE', 'must hold a JSON object', { path });
  const duplicate = options.uniqueKeys ? firstDuplicateKey(text) : undefined;
  if (duplicate !== undefined)
    throw new DejaDitError('INVALID_FILE', `has the key ${quote(duplicate)} twice`, { path });
  return value;
}

/**
 * Python's json writes Infinity and NaN, which JSON has not. Infinities (scheduler configs use them for "no limit") are read as such;
 * NaN becomes a word, so that whoever asks for a number refuses it.
 */
function withoutInfinities(text: string): string {
  return text.replace(/(:\s*)(-?)(Infinity|NaN)(?=\s*[,}])/g, (_, before: string, sign: string, word: string) => {
    return before + (word === 'NaN' ? '"NaN"' : `${sign}1e999`);
  });
}

async function readText(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > maxJsonBytes)
      throw new DejaDitError('INVALID_FILE', `is ${size} bytes long, too long for JSON`, { path });
    const text = await readFile(path, 'utf8');
    return text.startsWith('\ufeff') ? text.slice(1) : text;
  } catch (cause) {
    if (cause instanceof DejaDitError) throw cause;
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') throw new DejaDitError('NOT_FOUND', 'no such file', { path });
    throw new DejaDitError('INVALID_FILE', `cannot be read (${code})`, { path, cause });
  }
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value found in a file, as JSON on one line, cut to a length that a message can carry. */
export function quote(value: unknown): string {
  // JSON escapes control characters but not the other separators that would break a line in a terminal.
  const text = (JSON.stringify(value) ?? 'undefined').replace(/[\u007f-\u009f\u2028\u2029]/g, ' ');
  return text.length <= 120 ? text : `${text.slice(0, 117)}...`;
}

/**
 * The first key that some object of `json` has twice. `JSON.parse` keeps the last of them without a word, other
 * readers the first, so a file with one means different things to different programs.
 * @param json text that `JSON.parse` has accepted
 */
export function firstDuplicateKey(json: string): string | undefined {
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

function endOfString(json: string, start: number): number {
  let i = start + 1;
  while (json[i] !== '"') i += json[i] === '\\' ? 2 : 1;
  return i;
}
