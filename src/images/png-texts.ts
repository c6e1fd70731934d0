/** Reads the texts of PNG files, without decoding the image. */
import { inflateSync } from 'node:zlib';

const largestText = 2 ** 24;
/** The format's own limit. */
const longestKeyword = 79;

/**
 * The texts of a PNG that have these keywords, the first of each: a file may hold thousands that inflate to megabytes. Reading stops
 * quietly where a damaged file does; pictures are the decoder's business.
 */
export function readPngTexts(png: Uint8Array, keywords: readonly string[]): Map<string, string> {
  const bytes = Buffer.from(png.buffer, png.byteOffset, png.length);
  const texts = new Map<string, string>();
  const wanted = new Set(keywords);
  for (let at = 8; at + 12 <= bytes.length && wanted.size > 0; ) {
    const length = bytes.readUInt32BE(at);
    const type = bytes.toString('latin1', at + 4, at + 8);
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (data.length < length) break;
    at += 12 + length;
    if (type !== 'tEXt' && type !== 'iTXt') continue;
    const split = data.subarray(0, longestKeyword + 1).indexOf(0);
    const keyword = data.toString('latin1', 0, Math.max(0, split));
    if (!wanted.delete(keyword)) continue;
    const value = data.subarray(split + 1, split + 1 + largestText);
    const text = type === 'tEXt' ? value.toString('latin1') : internationalText(value);
    if (text !== undefined) texts.set(keyword, text);
  }
  return texts;
}

/** What follows the keyword of an iTXt chunk: two bytes of compression, language, translated keyword, text. */
function internationalText(data: Buffer): string | undefined {
  const language = data.indexOf(0, 2);
  const translated = language < 0 ? -1 : data.indexOf(0, language + 1);
  if (translated < 0) return undefined;
  const text = data.subarray(translated + 1);
  if (data[0] === 0) return text.toString('utf8');
  try {
    return inflateSync(text, { maxOutputLength: largestText }).toString('utf8');
  } catch {
    return undefined;
  }
}
