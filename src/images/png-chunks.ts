/** Chunks of PNG files: written for metadata, read back without decoding the image. */
import { inflateSync } from 'node:zlib';

/** Signature, then the IHDR chunk, which has to come first. */
const headerLength = 8 + 12 + 13;
const largestText = 2 ** 24;
/** The format's own limit. */
const longestKeyword = 79;

export function pngChunk(type: string, data: Uint8Array): Uint8Array {
  const chunk = Buffer.alloc(12 + data.length);
  chunk.writeUInt32BE(data.length, 0);
  chunk.write(type, 4, 'latin1');
  chunk.set(data, 8);
  chunk.writeUInt32BE(crc32(chunk.subarray(4, 8 + data.length)), 8 + data.length);
  return chunk;
}

/** A text chunk: tEXt where Latin-1 can hold the text (every reader knows it), iTXt in UTF-8 otherwise. */
export function pngText(keyword: string, text: string): Uint8Array {
  const isLatin1 = [...text].every((character) => character.codePointAt(0)! < 256 && character !== '\0');
  if (isLatin1) return pngChunk('tEXt', Buffer.from(`${keyword}\0${text}`, 'latin1'));
  // Not compressed, no language, no translated keyword.
  return pngChunk('iTXt', Buffer.from(`${keyword}\0\0\0\0\0${text}`, 'utf8'));
}

/** Whether a file says that it is a PNG. */
export function isPng(bytes: Uint8Array): boolean {
  return bytes[0] === 0x89;
}

/** The file with chunks added right after its header. */
export function insertPngChunks(png: Uint8Array, chunks: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat([png.subarray(0, headerLength), ...chunks, png.subarray(headerLength)]);
}

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

/** An orientation and what goes with it; a decoder takes seconds for megabytes of entries. */
const largestExif = 2 ** 16;

/** The file without what is not the picture: a decoder would inflate every text, and a small file can hold gigabytes of them. */
export function pictureChunks(png: Uint8Array): Uint8Array {
  const bytes = Buffer.from(png.buffer, png.byteOffset, png.length);
  const kept = [bytes.subarray(0, 8)];
  for (let at = 8; at < bytes.length; ) {
    const length = at + 8 <= bytes.length ? bytes.readUInt32BE(at) : bytes.length;
    const chunk = bytes.subarray(at, at + 12 + length);
    const type = chunk.toString('latin1', 4, 8);
    const isText = type === 'tEXt' || type === 'zTXt' || type === 'iTXt';
    if (!isText && !(type === 'eXIf' && length > largestExif)) kept.push(chunk);
    at += 12 + length;
  }
  return Buffer.concat(kept);
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

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  return crc;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = crcTable[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
