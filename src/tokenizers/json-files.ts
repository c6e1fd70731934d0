/** Reads small JSON and text files, telling "not there" (undefined) from "broken" (an error naming the file). */
import { readFile } from 'node:fs/promises';
import { DejaDitError } from '../errors/errors.ts';

export type JsonObject = Record<string, unknown>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The parsed file, or undefined if there is none. Anything but a JSON object is an error. */
export async function readJson(path: string): Promise<JsonObject | undefined> {
  const text = (await readBytes(path))?.toString('utf8');
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new DejaDitError('INVALID_FILE', `is not valid JSON: ${oneLine((cause as Error).message)}`, { path, cause });
  }
  if (!isObject(value)) throw new DejaDitError('INVALID_FILE', 'must hold a JSON object', { path });
  return value;
}

/** The file's bytes, or undefined if there is none. */
export async function readBytes(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new DejaDitError('INVALID_FILE', `cannot be read: ${message}`, { path, cause });
  }
}

/** JSON.parse quotes the text it stumbled over, line breaks included. */
function oneLine(message: string): string {
  return message.replace(/\s+/g, ' ');
}
