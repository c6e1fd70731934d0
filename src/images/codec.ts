/**
 * Pixels to file bytes and back, with sharp. Files come from strangers, so only known formats reach a decoder, and sizes are limited
 * before decoding. In a page `codec.web.ts` does the same.
 */
import type { Sharp } from 'sharp';
import { DejaDitError } from '../errors/errors.ts';
import {
  bytesOf,
  defaultMaxPixels,
  type EncodeOptions,
  type ImageFileSource,
  type LoadOptions,
  qualityFor,
} from './codec-options.ts';
import { exifBlock } from './exif.ts';
import { type ImageFormat, isReadable, oneLine } from './files.ts';
import { asciiJson, type ImageMetadata, parametersText } from './metadata.ts';
import type { Pixels } from './pixels.ts';
import { insertPngChunks, isPng, pictureChunks, pngChunk, pngText } from './png-chunks.ts';
import { readImageFile } from './read-file.ts';
import { loadSharp } from './sharp.ts';

/** A JPEG segment holds 64 KiB, and sharp adds a few entries of its own. */
const largestJpegExif = 65_000;

export async function decodeImage(source: ImageFileSource, options: LoadOptions): Promise<Pixels> {
  const isPath = typeof source === 'string' || source instanceof URL;
  const path = isPath ? String(source) : 'image';
  const bytes = isPath ? await readImageFile(source) : await bytesOf(source);
  if (!isReadable(bytes)) {
    throw new DejaDitError('UNSUPPORTED', 'is not a PNG, JPEG, WebP, AVIF or GIF image', { path });
  }
  const sharp = await loadSharp();
  try {
    const input = sharp(isPng(bytes) ? pictureChunks(bytes) : bytes, {
      limitInputPixels: options.maxPixels ?? defaultMaxPixels,
      failOn: 'error',
    });
    const { space, hasProfile } = await input.metadata();
    const upright = input.rotate();
    if (space === 'cmyk' && !hasProfile) return fromInks(await rawPixels(upright.pipelineColourspace('cmyk'), 'cmyk'));
    const { data, info } = await rawPixels(upright, 'srgb');
    return {
      width: info.width,
      height: info.height,
      channels: info.channels === 4 ? 4 : 3,
      data: new Uint8Array(data),
    };
  } catch (cause) {
    throw new DejaDitError('INVALID_FILE', `cannot be decoded: ${oneLine(cause)}`, { path, cause });
  }
}

function rawPixels(image: Sharp, colourspace: 'srgb' | 'cmyk') {
  return image.toColourspace(colourspace).raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
}

/** Inks without a profile, taken as filters that each let through what they do not absorb, as Pillow takes them. */
function fromInks({ data: inks, info: { width, height } }: Awaited<ReturnType<typeof rawPixels>>): Pixels {
  const data = new Uint8Array(width * height * 3);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const light = 255 - inks[4 * pixel + 3]!;
    for (let c = 0; c < 3; c++) data[3 * pixel + c] = light - dividedBy255(inks[4 * pixel + c]! * light);
  }
  return { width, height, channels: 3, data };
}

function dividedBy255(product: number): number {
  const shifted = product + 128;
  return ((shifted >> 8) + shifted) >> 8;
}

export async function encodeImage(image: Pixels, format: ImageFormat, options: EncodeOptions): Promise<Uint8Array> {
  const { metadata } = options;
  const quality = qualityFor(format, options.quality);
  const about = metadata && { ...metadata, width: image.width, height: image.height };
  const pixels = await fromPixels(image);
  if (format === 'png') {
    const png = await pixels.png().toBuffer();
    return about === undefined
      ? png
      : insertPngChunks(png, [pngText('parameters', parametersText(about)), pngText('deja-dit', asciiJson(about))]);
  }
  const target = about === undefined ? pixels : await withExif(pixels, { format, about });
  switch (format) {
    case 'jpeg':
      return target.flatten({ background: 'white' }).jpeg({ quality, chromaSubsampling: '4:4:4' }).toBuffer();
    case 'webp':
      return target.webp({ quality }).toBuffer();
    case 'avif':
      return target.avif({ quality }).toBuffer();
    default:
      format satisfies never;
      throw new DejaDitError('UNSUPPORTED', `unknown image format '${format}', use png, jpeg, webp or avif`);
  }
}

/** Red, green, blue and alpha of a CSS colour, as bytes. */
export async function parseColour(colour: string): Promise<Uint8Array> {
  const sharp = await loadSharp();
  const create = { width: 1, height: 1, channels: 4, background: colour } as const;
  return new Uint8Array(await sharp({ create }).raw().toBuffer());
}

async function fromPixels({ width, height, channels, data }: Pixels): Promise<Sharp> {
  const sharp = await loadSharp();
  return sharp(data, { raw: { width, height, channels }, limitInputPixels: false });
}

/** sharp takes an EXIF block only from an input file, so the pixels pass through an uncompressed PNG that has one. */
async function withExif(
  pixels: Sharp,
  { format, about }: { format: ImageFormat; about: ImageMetadata },
): Promise<Sharp> {
  const exif = exifBlock({ userComment: parametersText(about), makerNote: asciiJson(about) });
  if (format === 'jpeg' && exif.length > largestJpegExif) {
    const message = `${exif.length} bytes of metadata do not fit into a JPEG: save as PNG or WebP, or without metadata`;
    throw new DejaDitError('INVALID_ARGUMENT', message, { path: 'metadata' });
  }
  const png = insertPngChunks(await pixels.png({ compressionLevel: 0 }).toBuffer(), [pngChunk('eXIf', exif)]);
  const sharp = await loadSharp();
  return sharp(png, { limitInputPixels: false }).keepExif();
}
