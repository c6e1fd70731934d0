/**
 * Text as it was meant: what copying and wrong decoding did to it is undone, in the steps of Python's ftfy. Mojibake is recognised where
 * UTF-8 was read as Windows-1252 or Latin-1, by far the most frequent kind; ftfy knows more encodings, and heuristics for damaged runs.
 */
import { decodeHTMLStrict } from 'entities';

/** Segments are lines: a `<` in one, which speaks for real HTML, leaves the references of those from it on alone. */
export function fixText(text: string): string {
  let isHtml = false;
  return text
    .split(/(?<=\n)/)
    .map((line) => {
      isHtml ||= line.includes('<');
      return fixLine(line, !isHtml);
    })
    .join('');
}

/** More layers of damage than any text has; a hostile one ends here. */
const mostRounds = 16;

/** One repair may uncover the next. */
function fixLine(line: string, hasReferences: boolean): string {
  const all = hasReferences ? [unescapeHtml, ...steps] : steps;
  let fixed = line;
  for (let round = 0; round < mostRounds; round++) {
    const before = fixed;
    fixed = all.reduce((text, step) => step(text), before);
    if (fixed === before) break;
  }
  return fixed;
}

const steps: readonly ((text: string) => string)[] = [
  decodeMojibake,
  (text) => text.replace(/[\x80-\x9f]/g, (control) => windows1252[control.charCodeAt(0) - 128]!),
  // Ligatures of Latin letters, and full and half widths; other compatible characters are meant.
  (text) => text.replace(/[\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3\ufb00-\ufb06]/g, compatible),
  (text) => text.replace(/[\u3000\uff01-\uffef]/g, compatible),
  (text) => text.replace(/[\u201c-\u201f]/g, '"').replace(/[\u02bc\u2018-\u201b]/g, "'"),
  (text) => text.replace(/\r\n|[\r\u2028\u2029\u0085]/g, '\n'),
  (text) => text.replace(/\p{Cs}/gu, '\ufffd'),
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the codes that colour a terminal
  (text) => text.replace(/\x1b\[[\d;]*[a-zA-Z]/g, ''),
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is removed
  (text) => text.replace(/[\0-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]/g, ''),
  (text) => text.normalize('NFC'),
];

/** What Windows-1252 has at bytes 0x80 to 0x9f. (Node's own decoder reads them as Latin-1.) */
const windows1252 = '€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Bytes by the characters that Windows-1252 or Latin-1 read in them. */
const bytesOf = new Map(
  Array.from({ length: 128 }, (_, i) => 128 + i).flatMap((byte) => [
    [String.fromCharCode(byte), byte],
    [windows1252[byte - 128] ?? String.fromCharCode(byte), byte],
  ]),
);

const foreignRun = new RegExp(`([${[...bytesOf.keys()].join('')}]{2,})( ?)`, 'g');

/**
 * Runs of characters whose bytes are UTF-8, which hardly any real text happens to contain. A space behind a run may have been its last byte:
 * 0xa0, the space that does not break, often becomes a plain one.
 */
function decodeMojibake(text: string): string {
  return text.replace(foreignRun, (match, run: string, space: string) => {
    const bytes = Array.from(run, (character) => bytesOf.get(character)!);
    const whole = decodeUtf8(bytes);
    if (whole !== undefined) return whole + space;
    return (space && decodeUtf8([...bytes, 0xa0])) || match;
  });
}

function decodeUtf8(bytes: readonly number[]): string | undefined {
  try {
    return utf8.decode(Uint8Array.from(bytes));
  } catch {
    return undefined;
  }
}

/** References that end in a semicolon; names in capitals too, as in `P&EACUTE;REZ`. */
function unescapeHtml(text: string): string {
  return text.replace(/&#?[0-9A-Za-z]{1,24};/g, (reference) => {
    const character = decodeHTMLStrict(reference);
    if (character !== reference || reference !== reference.toUpperCase()) return character;
    const lower = decodeHTMLStrict(reference.toLowerCase());
    return lower === reference.toLowerCase() ? reference : lower.toUpperCase();
  });
}

function compatible(character: string): string {
  return character.normalize('NFKC');
}
