/** Animated WebP: a video that browsers show as they show images, written without any program beside this one. */
import { DejaDitError } from '../errors/errors.ts';
import type { Pixels } from './pixels.ts';
import { loadSharp } from './sharp.ts';

/** Bytes of frames that play in a loop: all of one size, and not all the same. @param exif an EXIF block to travel along */
export async function encodeAnimatedWebp(
  frames: readonly Pixels[],
  { fps, exif }: { fps: number; exif?: Uint8Array | undefined },
): Promise<Uint8Array> {
  const { width, height, channels } = frames[0]!;
  if (width > 16383 || height > 16383)
    throw new DejaDitError('UNSUPPORTED', `WebP frames have up to 16383 pixels a side, not ${width} x ${height}`);
  const sharp = await loadSharp();
  const pages = Buffer.concat(frames.map(({ data }) => data));
  // Whole milliseconds whose sum does not drift.
  const time = (frame: number) => Math.round((1000 * frame) / fps);
  const delay = frames.map((_, i) => time(i + 1) - time(i));
  const raw = { width, height: height * frames.length, channels, pageHeight: height };
  const webp = await sharp(pages, { raw, limitInputPixels: false }).webp({ quality: 92, loop: 0, delay }).toBuffer();
  return exif ? withExif(webp, exif) : webp;
}

/** RIFF: chunks of a name, a length, and data of even length. The first, VP8X, which animations have, lists in its flags what else there is. */
function withExif(webp: Buffer, exif: Uint8Array): Buffer {
  const exifFlag = 0x08;
  const header = Buffer.alloc(8);
  header.write('EXIF', 0, 'latin1');
  header.writeUInt32LE(exif.length, 4);
  const file = Buffer.concat([webp, header, exif, Buffer.alloc(exif.length % 2)]);
  file.writeUInt8(file.readUInt8(20) | exifFlag, 20);
  file.writeUInt32LE(file.length - 8, 4);
  return file;
}
