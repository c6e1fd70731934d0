/** Image files on disk, whatever is in them: which format a name stands for, reading with a limit. */
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DejaDitError } from '../errors/errors.ts';
import { readFileBytes } from '../files/files.ts';

export type ImageFormat = 'png' | 'jpeg' | 'webp' | 'avif';

const extensions: Record<string, ImageFormat> = {
  '.png': 'png',
  '.jpg': 'jpeg',
  '.jpeg': 'jpeg',
  '.webp': 'webp',
  '.avif': 'avif',
};
const largestFile = 2 ** 28;

/** The format for a file name. @throws DejaDitError `UNSUPPORTED` if the extension names none */
export function formatOf(path: string): ImageFormat {
  const format = extensions[extname(path).toLowerCase()];
  if (format !== undefined) return format;
  const known = Object.keys(extensions).join(', ');
  throw new DejaDitError('UNSUPPORTED', `no image format has the extension '${extname(path)}', use ${known}`, { path });
}

/** The bytes of an image file, unless it is larger than any image this engine takes. */
export async function readImageFile(source: string | URL): Promise<Uint8Array> {
  return readFileBytes(source instanceof URL ? pathOf(source) : source, { maxBytes: largestFile });
}

function pathOf(url: URL): string {
  if (url.protocol === 'file:') return fileURLToPath(url);
  throw new DejaDitError('UNSUPPORTED', 'only file: URLs are read; download the image and pass its bytes', {
    path: url.href,
  });
}

/** Whether these are the first bytes of a format we read; everything else (SVG, PDF, ...) never reaches a decoder. */
export function isReadable(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes.subarray(0, 16)).toString('latin1');
  const isWebp = head.startsWith('RIFF') && head.slice(8, 12) === 'WEBP';
  const isAvif = /^ftyp(avif|avis|mif1|msf1)/.test(head.slice(4));
  return (
    isWebp || isAvif || ['\x89PNG\r\n\x1a\n', '\xff\xd8\xff', 'GIF87a', 'GIF89a'].some((mark) => head.startsWith(mark))
  );
}

/** An error's message without line breaks and control characters. */
export function oneLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).replace(/[\s\p{Cc}]+/gu, ' ').trim();
}
