/** Formats of image files: which one a name stands for, and which one bytes begin. */
import { DejaDitError } from '../errors/errors.ts';
import { extension } from '../files/paths.ts';

export type ImageFormat = 'png' | 'jpeg' | 'webp' | 'avif';

const extensions: Record<string, ImageFormat> = {
  '.png': 'png',
  '.jpg': 'jpeg',
  '.jpeg': 'jpeg',
  '.webp': 'webp',
  '.avif': 'avif',
};

/** The format for a file name. @throws DejaDitError `UNSUPPORTED` if the extension names none */
export function formatOf(path: string): ImageFormat {
  const format = extensions[extension(path)];
  if (format !== undefined) return format;
  const known = Object.keys(extensions).join(', ');
  throw new DejaDitError('UNSUPPORTED', `no image format has the extension '${extension(path)}', use ${known}`, {
    path,
  });
}

/** Whether these are the first bytes of a format we read; everything else (SVG, PDF, ...) never reaches a decoder. */
export function isReadable(bytes: Uint8Array): boolean {
  const head = String.fromCharCode(...bytes.subarray(0, 16));
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
