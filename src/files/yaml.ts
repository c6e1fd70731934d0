/**
 * YAML from files that may be hostile. The library's parser takes seconds for a megabyte of brackets and overflows the stack on deep
 * ones, in a way that can end the process: so a text is measured by its tokens before it is parsed. JSON is YAML too, and is read as
 * JSON, with the wider bounds of that.
 */
import { Lexer, Parser, parseDocument } from 'yaml';
import { DejaDitError } from '../errors/errors.ts';
import { parseJson } from './json.ts';
import { readFileBytesSync } from './read-sync.ts';

/** Settings that people write have a few thousand bytes and tokens; the library's time grows with their square. */
const maxYamlLength = 1 << 16;
const maxTokens = 20_000;
const maxDepth = 64;
/** How often an alias may stand for its anchor, all in all: ten of ten of ten make a bomb. */
const maxAliasCount = 100;
/** What JSON may have. */
const maxBytes = 32_000_000;

/**
 * The content of a YAML or JSON file.
 * @throws DejaDitError `NOT_FOUND` without such a file, `INVALID_FILE` if it is neither, or too large or too deep
 */
export function readYamlFileSync(path: string): unknown {
  const text = new TextDecoder().decode(readFileBytesSync(path, { maxBytes }));
  const isJson = /^\s*\{\s*["}]/.test(text.slice(0, maxYamlLength));
  if (isJson && (text.length > maxYamlLength || parses(text))) return parseJson(text, { path });
  return parseYaml(text, path);
}

function parses(text: string): boolean {
  try {
    parseJson(text, { path: '' });
    return true;
  } catch {
    return false;
  }
}

/** @throws DejaDitError `INVALID_FILE` */
export function parseYaml(text: string, path: string): unknown {
  const bad = (message: string, cause?: unknown) => new DejaDitError('INVALID_FILE', message, { path, cause });
  if (text.length > maxYamlLength) throw bad(`has ${text.length} characters, YAML is read up to ${maxYamlLength}`);
  const parser = new Parser();
  let tokens = 0;
  for (const token of new Lexer().lex(text)) {
    for (const found of parser.next(token)) {
      // The library would go on and collect thousands of them.
      if (found.type === 'error') throw bad(`is no YAML or JSON: ${found.message}`);
    }
    if (++tokens > maxTokens) throw bad(`has more than ${maxTokens} YAML tokens`);
    if (parser.stack.length > maxDepth) throw bad(`nests deeper than ${maxDepth / 2} levels`);
  }
  try {
    // Errors made pretty take time for each; the first one's place is found below.
    const document = parseDocument(text, { prettyErrors: false, logLevel: 'error' });
    const [error] = document.errors;
    if (error)
      throw bad(`is no YAML or JSON: ${error.message} (line ${text.slice(0, error.pos[0]).split('\n').length})`);
    return document.toJS({ maxAliasCount });
  } catch (cause) {
    if (cause instanceof DejaDitError) throw cause;
    throw bad(`is no YAML or JSON: ${(cause as Error).message}`, cause);
  }
}
