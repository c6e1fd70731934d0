/** Chunks of PNG files: written for metadata, read back without decoding the image. */
import { inflateSync } from 'node:zlib';

/** Signature, then the IHDR chunk, which has to come first. */
const headerLength = 8 + 12 + 13;
const largestText = 2 ** 24;

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

/** The file with chunks added right after its header. */
export function insertPngChunks(png: Uint8Array, chunks: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat([png.subarray(0, headerLength), ...chunks, png.subarray(headerLength)]);
}

/** All texts of a PNG by keyword. Reading stops quietly where a damaged file does; pictures are the decoder's business. */
export function readPngTexts(png: Uint8Array): Map<string, string> {
  const bytes = Buffer.from(png.buffer, png.byteOffset, png.length);
  const texts = new Map<string, string>();
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    const type = bytes.toString('latin1', at + 4, at + 8);
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (data.length < length) break;
    const split = data.indexOf(0);
    const keyword = data.toString('latin1', 0, Math.max(0, split));
    if (type === 'tEXt' && split > 0) texts.set(keyword, data.toString('latin1', split + 1));
    if (type === 'iTXt' && split > 0) {
      const text = internationalText(data.subarray(split + 1));
      if (text !== undefined) texts.set(keyword, text);
    }
    at += 12 + length;
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
