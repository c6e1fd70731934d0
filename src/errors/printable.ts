/**
 * Text from strangers (names in files, paths, values, other programs' words) on its way to a terminal or a log: always one line, without
 * characters that move the cursor, forge a line or turn the reading direction, and never longer than a line should be.
 */

/** C0 and C1 controls, line and paragraph separators, marks that turn or hide text, halves of surrogate pairs. */
const unprintable =
  /[\p{Cc}\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/gu;
const short: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** The text with unprintable characters as JSON escapes, cut in the middle if it is longer than `maxLength`: both ends tell more. */
export function printable(text: string, maxLength = 1000): string {
  // What is cut off is not worth escaping.
  const escaped = cut(text, maxLength).replace(
    unprintable,
    (unit) => short[unit] ?? `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return cut(escaped, maxLength);
}

function cut(text: string, maxLength: number): string {
  if (text.length <= maxLength) return text;
  const kept = Math.max(2, maxLength - 3);
  return `${text.slice(0, Math.ceil(kept / 2))}...${text.slice(text.length - Math.floor(kept / 2))}`;
}

const quoteLength = 120;
const quoteDepth = 4;

/** A value found in a file or given by a caller, as JSON on one line, cut to a length that a message can carry. Deep and long ones cost no more. */
export function quote(value: unknown): string {
  let text = '';
  for (const piece of pieces(value, 0)) {
    text += piece;
    if (text.length > quoteLength) break;
  }
  const line = printable(text, Number.POSITIVE_INFINITY);
  return line.length <= quoteLength ? line : `${line.slice(0, quoteLength - 3)}...`;
}

function* pieces(value: unknown, depth: number): Generator<string> {
  if (typeof value === 'string') yield JSON.stringify(value.slice(0, quoteLength + 1));
  else if (typeof value === 'function') yield 'a function';
  else if (typeof value !== 'object' || value === null) yield String(value);
  else if (depth === quoteDepth) yield Array.isArray(value) ? '[...]' : '{...}';
  else if (Array.isArray(value)) {
    yield '[';
    for (let i = 0; i < value.length; i++) {
      if (i > 0) yield ',';
      yield* pieces(value[i], depth + 1);
    }
    yield ']';
  } else {
    yield '{';
    let separator = '';
    for (const key in value) {
      const item: unknown = Reflect.get(value, key);
      if (item === undefined) continue;
      yield `${separator}${JSON.stringify(key.slice(0, quoteLength + 1))}:`;
      yield* pieces(item, depth + 1);
      separator = ',';
    }
    yield '}';
  }
}
