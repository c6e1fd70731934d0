/** JSON from files that may be hostile: object checks, duplicate keys, and quoting of what was found in error messages. */

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
