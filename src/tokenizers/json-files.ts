/** Reads the files of a tokenizer, telling "not there" (undefined) from "broken" (an error naming the file). */
import { DejaDitError } from '../errors/errors.ts';
import { readFileBytes, readFileText } from '../files/files.ts';
import { isPlainObject, type JsonObject, readJsonFile } from '../files/json.ts';

export { isPlainObject as isObject, type JsonObject };

/** The largest in use, with 262,144 tokens, has 33 MB. */
const maxBytes = 64_000_000;

/** The parsed file, or undefined if there is none. Anything but a JSON object is an error. */
export async function readJson(path: string): Promise<JsonObject | undefined> {
  return unlessMissing(readJsonFile(path, { maxBytes }));
}

/** The file's bytes, or undefined if there is none. */
export async function readBytes(path: string): Promise<Uint8Array | undefined> {
  return unlessMissing(readFileBytes(path, { maxBytes }));
}

/** The file's text, or undefined if there is none. */
export async function readText(path: string): Promise<string | undefined> {
  return unlessMissing(readFileText(path, { maxBytes }));
}

async function unlessMissing<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof DejaDitError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}
