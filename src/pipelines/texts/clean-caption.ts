/**
 * Captions as DeepFloyd's models and their successors were trained on them: what scraped captions have beside what they say (addresses,
 * numbers of articles, names of files, offers) is taken out, in the order of Diffusers, lower-cased.
 */
import { decodeHTML } from 'entities';
import { fixText } from './fix-text.ts';

/** Letters, digits and the underscore, within brackets, and where words of them end: as Python has them, in all scripts. */
const word = '\\p{L}\\p{N}_';
const edge = `(?:(?<=[${word}])(?![${word}])|(?<![${word}])(?=[${word}]))`;

type Step = readonly [pattern: RegExp, replacement: string];

/** As Python reads it: `\w` (within brackets), `\b`, `\d` and `\D` are not of ASCII alone. */
function python({ raw }: TemplateStringsArray): RegExp {
  const source = raw[0]!
    .replaceAll('\\w', word)
    .replaceAll('\\b', edge)
    .replaceAll('\\d', '\\p{Nd}')
    .replaceAll('\\D', '\\P{Nd}');
  return new RegExp(source, 'gu');
}

const remove = (pattern: RegExp): Step => [pattern, ''];

const files = 'png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4';

const beforeRepair: readonly Step[] = [
  [python`<person>`, 'person'],
  // Addresses and names of users.
  remove(
    python`\b((?:https?|www):(?:/{1,3}|[a-zA-Z0-9%])|[a-zA-Z0-9.\-]+[.](?:com|co|ru|net|org|edu|gov|it)[\w/\-]*\b/?(?!@))`,
  ),
  remove(python`@[\w]+\b`),
  // Chinese, Japanese and Korean characters.
  remove(python`[\u31c0-\u4dbf]+`),
  remove(python`[\u4dc0-\u9fff]+`),
  // All dashes, and quotation marks that ftfy leaves.
  [
    python`[\-\u058A\u05BE\u1400\u1806\u2010-\u2015\u2E17\u2E1A\u2E3A\u2E3B\u2E40\u301C\u3030\u30A0\uFE31\uFE32\uFE58\uFE63\uFF0D]+`,
    '-',
  ],
  [/[`´«»¨]/gu, '"'],
  remove(python`&quot;?`),
  remove(python`&amp`),
  // Addresses of machines, times at the end, numbers.
  [python`\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}`, ' '],
  remove(python`\d:\d\d\s+$`),
  [python`\\n`, ' '],
  remove(python`#\d{1,3}\b`),
  remove(python`#\d{5,}\b`),
  remove(python`\b\d{6,}\b`),
  remove(new RegExp(`\\S+\\.(?:${files})`, 'gu')),
  // Punctuation.
  [python`["']{2,}`, '"'],
  [python`[.]{2,}`, ' '],
  [/[#®•©™&@·º½¾¿¡§~)(\][}{|\\/*]+/gu, ' '],
  [python`\s+\.\s+`, ' '],
];

const afterRepair: readonly Step[] = [
  remove(python`\b[a-zA-Z]{1,3}\d{3,15}\b`),
  remove(python`\b[a-zA-Z]+\d+[a-zA-Z]+\b`),
  remove(python`\b\d+[a-zA-Z]+\d+\b`),
  remove(python`(worldwide\s+)?(free\s+)?shipping`),
  remove(python`(free\s)?download(\sfree)?`),
  remove(python`\bclick\b\s(?:for|on)\s[\w]+`),
  remove(new RegExp(`${edge}(?:${files})(\\simage[s]?)?`, 'gu')),
  remove(python`\bpage\s+\d+\b`),
  [python`\b\d*[a-zA-Z]+\d+[a-zA-Z]+\d+[a-zA-Z\d]*\b`, ' '],
  remove(python`\b\d+\.?\d*[xх×]\d+\.?\d*\b`),
  [python`\b\s+:\s+`, ': '],
  [python`(\D[,./])\b`, '$1 '],
  [python`\s+`, ' '],
  [/^["']([\s\S]+)["']$/u, '$1'],
  remove(/^['_,\-:;]/u),
  remove(/['_,\-:+]$/u),
  remove(/^\.\S+$/u),
];

const after = (text: string, steps: readonly Step[]) =>
  steps.reduce((left, [pattern, replacement]) => left.replace(pattern, replacement), text);

/** No model reads so many characters, and patterns take time that grows with their square. */
const longest = 5000;

/** A caption without all that. */
export function cleanCaption(caption: string): string {
  const bare = after(unquotePlus(caption.slice(0, longest)).trim().toLowerCase(), beforeRepair);
  const joined = bare.match(/[-_]/g) ?? [];
  const words = joined.length > 3 ? bare.replace(/[-_]/g, ' ') : bare;
  return after(cleanLightly(words), afterRepair).trim();
}

/** Repaired, and its references resolved, twice since scraped captions are often escaped twice. */
export function cleanLightly(caption: string): string {
  return decodeHTML(decodeHTML(fixText(caption))).trim();
}

/** As a query string is read: `+` is a space, `%41` an A. */
function unquotePlus(text: string): string {
  return text
    .replaceAll('+', ' ')
    .replace(/(?:%[0-9a-fA-F]{2})+/g, (run) =>
      new TextDecoder().decode(Uint8Array.from(run.slice(1).split('%'), (byte) => Number.parseInt(byte, 16))),
    );
}
