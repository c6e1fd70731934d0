/** Chunks of PNG files: made for metadata, put in and taken out without decoding the image. Reading their texts is `png-texts.ts`. */

/** Signature, then the IHDR chunk, which has to come first. */
const headerLength = 8 + 12 + 13;

export function pngChunk(type: string, data: Uint8Array): Uint8Array {
  const chunk = new Uint8Array(12 + data.length);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, data.length);
  chunk.set(latin1(type), 4);
  chunk.set(data, 8);
  view.setUint32(8 + data.length, crc32(chunk.subarray(4, 8 + data.length)));
  return chunk;
}

/** A text chunk: tEXt where Latin-1 can hold the text (every reader knows it), iTXt in UTF-8 otherwise. */
export function pngText(keyword: string, text: string): Uint8Array {
  const isLatin1 = [...text].every((character) => character.codePointAt(0)! < 256 && character !== '\0');
  if (isLatin1) return pngChunk('tEXt', latin1(`${keyword}\0${text}`));
  // Not compressed, no language, no translated keyword.
  return pngChunk('iTXt', new TextEncoder().encode(`${keyword}\0\0\0\0\0${text}`));
}

/** Whether a file says that it is a PNG. */
export function isPng(bytes: Uint8Array): boolean {
  return bytes[0] === 0x89;
}

/** The file with chunks added right after its header. */
export function insertPngChunks(png: Uint8Array, chunks: readonly Uint8Array[]): Uint8Array {
  return joined([png.subarray(0, headerLength), ...chunks, png.subarray(headerLength)]);
}

/** An orientation and what goes with it; a decoder takes seconds for megabytes of entries. */
const largestExif = 2 ** 16;

/** The file without what is not the picture: a decoder would inflate every text, and a small file can hold gigabytes of them. */
export function pictureChunks(png: Uint8Array): Uint8Array {
  const view = new DataView(png.buffer, png.byteOffset, png.length);
  const kept = [png.subarray(0, 8)];
  for (let at = 8; at < png.length; ) {
    const length = at + 8 <= png.length ? view.getUint32(at) : png.length;
    const chunk = png.subarray(at, at + 12 + length);
    const type = String.fromCharCode(...chunk.subarray(4, 8));
    const isText = type === 'tEXt' || type === 'zTXt' || type === 'iTXt';
    if (!isText && !(type === 'eXIf' && length > largestExif)) kept.push(chunk);
    at += 12 + length;
  }
  return joined(kept);
}

function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
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
