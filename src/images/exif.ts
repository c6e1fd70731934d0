/**
 * The two EXIF entries we use: UserComment for the text that other programs read, MakerNote for our own JSON.
 * An EXIF block is a TIFF file without pictures: directories of 12-byte entries (tag, type, count, value or offset).
 */

const exifDirectoryTag = 0x8769;
const makerNoteTag = 0x927c;
const userCommentTag = 0x9286;
const longType = 4;
const undefinedType = 7;
const makerNoteMark = 'deja-dit\0';
const unicodeMark = 'UNICODE\0';
const largestText = 2 ** 24;

export interface ExifTexts {
  userComment?: string;
  makerNote?: string;
}

/** A big-endian EXIF block with both texts. */
export function exifBlock({ userComment, makerNote }: Required<ExifTexts>): Uint8Array {
  const values: [tag: number, value: Buffer][] = [
    [makerNoteTag, Buffer.from(makerNoteMark + makerNote, 'utf8')],
    [userCommentTag, Buffer.concat([Buffer.from(unicodeMark), Buffer.from(userComment, 'utf16le').swap16()])],
  ];
  const first = directory([[exifDirectoryTag, longType, 1, 0]]);
  const start = 8;
  const second = start + first.length;
  first.writeUInt32BE(second, 2 + 8);
  let offset = second + directory(values.map(([tag]) => [tag, undefinedType, 0, 0])).length;
  const entries = values.map(([tag, value]): Entry => {
    offset += value.length;
    return [tag, undefinedType, value.length, offset - value.length];
  });
  const header = Buffer.from('MM\0*\0\0\0\x08', 'latin1');
  return Buffer.concat([header, first, directory(entries), ...values.map(([, value]) => value)]);
}

type Entry = [tag: number, type: number, count: number, value: number];

function directory(entries: Entry[]): Buffer {
  const bytes = Buffer.alloc(2 + 12 * entries.length + 4);
  bytes.writeUInt16BE(entries.length, 0);
  entries.forEach(([tag, type, count, value], i) => {
    bytes.writeUInt16BE(tag, 2 + 12 * i);
    bytes.writeUInt16BE(type, 4 + 12 * i);
    bytes.writeUInt32BE(count, 6 + 12 * i);
    bytes.writeUInt32BE(value, 10 + 12 * i);
  });
  return bytes;
}

/** The texts of an EXIF block in either byte order, as far as it holds any; a damaged block yields what can be read. */
export function readExif(block: Uint8Array): ExifTexts {
  let bytes = Buffer.from(block.buffer, block.byteOffset, block.length);
  if (bytes.toString('latin1', 0, 6) === 'Exif\0\0') bytes = bytes.subarray(6);
  const littleEndian = bytes.toString('latin1', 0, 2) === 'II';
  const number = (at: number, size: 2 | 4): number => {
    if (at + size > bytes.length) return 0;
    return littleEndian ? bytes.readUIntLE(at, size) : bytes.readUIntBE(at, size);
  };
  const entriesAt = (at: number) => Array.from({ length: number(at, 2) }, (_, i) => at + 2 + 12 * i);
  const texts: ExifTexts = {};
  const main = entriesAt(number(4, 4)).find((at) => number(at, 2) === exifDirectoryTag);
  const entries = main === undefined ? [] : entriesAt(number(main + 8, 4));
  // The first of a kind only: thousands that all name the same megabytes would take minutes to decode.
  const firstOf = (tag: number): Buffer => {
    const at = entries.find((entry) => number(entry, 2) === tag);
    if (at === undefined) return Buffer.of();
    const start = number(at + 8, 4);
    return bytes.subarray(start, start + Math.min(number(at + 4, 4), largestText));
  };
  const comment = firstOf(userCommentTag);
  if (comment.length > 0) texts.userComment = userComment(comment, littleEndian);
  const note = firstOf(makerNoteTag);
  if (note.toString('latin1', 0, makerNoteMark.length) === makerNoteMark)
    texts.makerNote = note.toString('utf8', makerNoteMark.length);
  return texts;
}

/** The first eight bytes name the character set. UTF-16 is big-endian in most files whatever the block's byte order. */
function userComment(value: Buffer, littleEndian: boolean): string {
  const charset = value.toString('latin1', 0, 8);
  const text = value.subarray(8, value.length - (value.length % 2));
  if (charset !== unicodeMark) return value.toString('utf8', 8);
  const swapped = Buffer.from(text).swap16().toString('utf16le');
  const asIs = text.toString('utf16le');
  const asciiCount = (some: string) => some.replace(/[^\n -~]/g, '').length;
  return asciiCount(swapped) > asciiCount(asIs) || (asciiCount(swapped) === asciiCount(asIs) && !littleEndian)
    ? swapped
    : asIs;
}
