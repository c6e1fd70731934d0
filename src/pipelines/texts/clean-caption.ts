/**
 * Captions as DeepFloyd's models and their successors were trained on them: what scraped captions have beside what they say (addresses,
 * numbers of articles, names of files, offers) is taken out, in the order of Diffusers, lower-cased.
 */
import { decodeHTML, decodeHTMLStrict } from 'entities';
import { fixText } from './fix-text.ts';

/** Letters, digits and the underscore, within brackets, and where words of them end: as Python has them, in all scripts. */
const word = '\\p{L}\\p{N}_';
const edge = `(?:(?<=[${word}])(?![${word}])|(?<![${word}])(?=[${word}]))`;

type Step = (text: string) => string;

/** As Python reads it: `\w` (within brackets), `\b`, `\d` and `\D` are not of ASCII alone. */
function python(parts: TemplateStringsArray, ...values: readonly string[]): RegExp {
  const source = String.raw(parts, ...values)
    .replaceAll('\\w', word)
    .replaceAll('\\b', edge)
    .replaceAll('\\d', '\\p{Nd}')
    .replaceAll('\\D', '\\P{Nd}');
  return new RegExp(source, 'gu');
}

const replace =
  (pattern: RegExp, replacement: string): Step =>
  (text) =>
    text.replace(pattern, replacement);
const remove = (pattern: RegExp): Step => replace(pattern, '');

const files = 'png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4';

/** Addresses, by what they start with or end in. */
const address = (scheme: string): Step =>
  remove(
    python`\b((?:${scheme}):(?:/{1,3}|[a-zA-Z0-9%])|[a-zA-Z0-9.\-]+[.](?:com|co|ru|net|org|edu|gov|it)[\w/\-]*\b/?(?!@))`,
  );

const beforeQuotes: readonly Step[] = [
  // Names of users.
  remove(python`@[\w]+\b`),
  // Chinese, Japanese and Korean characters.
  remove(python`[\u31c0-\u4dbf]+`),
  remove(python`[\u4dc0-\u9fff]+`),
  // All dashes.
  replace(
    python`[\-\u058A\u05BE\u1400\u1806\u2010-\u2015\u2E17\u2E1A\u2E3A\u2E3B\u2E40\u301C\u3030\u30A0\uFE31\uFE32\uFE58\uFE63\uFF0D]+`,
    '-',
  ),
];

const beforeRepair: readonly Step[] = [
  remove(python`&quot;?`),
  remove(python`&amp`),
  // Addresses of machines, times at the end, numbers.
  replace(python`\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}`, ' '),
  remove(python`\d:\d\d\s+$`),
  replace(python`\\n`, ' '),
  remove(python`#\d{1,3}\b`),
  remove(python`#\d{5,}\b`),
  remove(python`\b\d{6,}\b`),
  remove(new RegExp(`\\S+\\.(?:${files})`, 'gu')),
  // Punctuation.
  replace(python`["']{2,}`, '"'),
  replace(python`[.]{2,}`, ' '),
  replace(/[#®•©™&@·º½¾¿¡§~)(\][}{|\\/*]+/gu, ' '),
  replace(python`\s+\.\s+`, ' '),
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
  replace(python`\b\d*[a-zA-Z]+\d+[a-zA-Z]+\d+[a-zA-Z\d]*\b`, ' '),
  remove(python`\b\d+\.?\d*[xх×]\d+\.?\d*\b`),
  replace(python`\b\s+:\s+`, ': '),
  replace(python`(\D[,./])\b`, '$1 '),
  replace(python`\s+`, ' '),
  replace(/^["']([\s\S]+)["']$/u, '$1'),
  remove(/^['_,\-:;]/u),
  remove(/['_,\-:+]$/u),
  remove(/^\.\S+$/u),
];

const after = (text: string, steps: readonly Step[]) => steps.reduce((left, step) => step(left), text);

/** No model reads so many characters, and patterns take time that grows with their square. */
const longest = 5000;

const read = (caption: string) =>
  unquotePlus(caption.slice(0, longest)).trim().toLowerCase().replaceAll('<person>', 'person');

/** A caption without all that, as PixArt and Sana read it: cleaned twice, as scraped captions often hide what they have. */
export function cleanCaption(caption: string): string {
  return cleanOnce(cleanOnce(caption));
}

/** As they read what is not to be cleaned. */
export const lowerCased = (text: string) => text.toLowerCase().trim();

const straightQuotes: readonly Step[] = [replace(/[`´«»“”¨]/gu, '"'), replace(/[‘’]/gu, "'")];

function cleanOnce(caption: string): string {
  const bare = textOfHtml(after(read(caption), [address('https?'), address('www')]));
  const text = after(bare, [...beforeQuotes, ...straightQuotes, ...beforeRepair, spacedWords]);
  return after(resolved(text), afterRepair).trim();
}

/** As PRX reads it: once, and tags are text. */
export function cleanCaptionWithTags(caption: string): string {
  const bare = after(read(caption), [address('https?|www'), ...beforeQuotes]);
  const text = after(bare, [replace(/[`´«»¨]/gu, '"'), ...beforeRepair, spacedWords]);
  return after(cleanLightly(text), afterRepair).trim();
}

/** Repaired, and its references resolved. */
export function cleanLightly(caption: string): string {
  return resolved(caption).trim();
}

/** Twice, since scraped captions are often escaped twice. */
const resolved = (text: string) => decodeHTML(decodeHTML(fixText(text)));

/** What a page shows to Beautiful Soup: no tags, comments, scripts or styles, and characters for references. What does not end is text. */
const textOfHtml = (html: string) =>
  html
    .replace(/<(script|style|template)\b[^>]*>[\s\S]*?<\/\1\s*>/gu, '')
    .replace(/<!\[cdata\[([\s\S]*?)\]\]>/gu, '$1')
    .replace(tagOrReference, (_, name: string | undefined) => (name === undefined ? '' : named(name)));

const tagOrReference =
  /<!--[\s\S]*?-->|<[!?/][^>]*>|<[a-z](?:[^>"']|"[^"]*"|'[^']*')*>|&(#\d+|#x[\da-f]+|[a-z][a-z\d.-]*)(?:;|(?=[^a-z\d]))/gu;

function named(name: string): string {
  const character = decodeHTMLStrict(`&${name};`);
  return character === `&${name};` ? `&${name}` : character;
}

/** Names such as `this-is-my-cute-cat` are words. */
const spacedWords: Step = (text) => ((text.match(/[-_]/g) ?? []).length > 3 ? text.replace(/[-_]/g, ' ') : text);

/** As a query string is read: `+` is a space, `%41` an A. */
function unquotePlus(text: string): string {
  return text
    .replaceAll('+', ' ')
    .replace(/(?:%[0-9a-fA-F]{2})+/g, (run) =>
      new TextDecoder().decode(Uint8Array.from(run.slice(1).split('%'), (byte) => Number.parseInt(byte, 16))),
    );
}
