/**
 * Pixels to file bytes and back, and resampling. Files come from strangers, so only known formats
 * reach a decoder, and sizes are limited before decoding. Reading and writing files as such is in `files.ts`.
 */
import type { Sharp } from 'sharp';
import { DejaDitError } from '../errors/errors.ts';
import { exifBlock } from './exif.ts';
import { type ImageFormat, isReadable, oneLine, readImageFile } from './files.ts';
import { type ImageMetadata, metadataJson, parametersText } from './metadata.ts';
import type { Pixels } from './pixels.ts';
import { insertPngChunks, isPng, pictureChunks, pngChunk, pngText } from './png-chunks.ts';
import { type ResampleKernel, resample } from './resample.ts';
import { loadSharp } from './sharp.ts';

export interface EncodeOptions {
  /** 1 to 100, for the lossy formats. Default 92 (AVIF: 70). */
  quality?: number;
  /** What made the image; written into the file so that `readMetadata` and other programs can read it back. */
  metadata?: ImageMetadata;
}

export interface LoadOptions {
  /** Largest image that is decoded, in pixels. Default 2^26 (8192 x 8192). */
  maxPixels?: number;
}

export interface ResizeOptions {
  /** `'fill'` (default) stretches, `'cover'` fills and crops the middle, `'contain'` fits and pads. */
  fit?: 'fill' | 'cover' | 'contain';
  /** Default `'lanczos3'`. */
  kernel?: ResampleKernel;
  /** Colour of the padding, any CSS colour. Default black. */
  background?: string;
}

const defaultQuality = { jpeg: 92, webp: 92, avif: 70 };
const defaultMaxPixels = 2 ** 26;
/** A JPEG segment holds 64 KiB, and sharp adds a few entries of its own. */
const largestJpegExif = 65_000;

export async function decodeImage(source: string | URL | Uint8Array, options: LoadOptions): Promise<Pixels> {
  const isFile = !(source instanceof Uint8Array);
  const path = isFile ? String(source) : 'image';
  const bytes = isFile ? await readImageFile(source) : source;
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
      : insertPngChunks(png, [pngText('parameters', parametersText(about)), pngText('deja-dit', metadataJson(about))]);
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

export async function resizePixels(
  image: Pixels,
  {
    width,
    height,
    fit = 'fill',
    kernel = 'lanczos3',
    background = 'black',
  }: ResizeOptions & { width: number; height: number },
): Promise<Pixels> {
  const isSize = (n: number) => Number.isInteger(n) && n > 0 && n < 2 ** 15;
  if (!isSize(width) || !isSize(height)) {
    throw new DejaDitError('INVALID_ARGUMENT', `cannot resize an image to ${width} x ${height} pixels`);
  }
  if (fit === 'fill') return resample(image, { width, height, kernel });
  const scales = [width / image.width, height / image.height];
  const scale = fit === 'cover' ? Math.max(...scales) : Math.min(...scales);
  const edge = (length: number) => Math.max(1, Math.round(length * scale));
  const scaled = resample(image, { width: edge(image.width), height: edge(image.height), kernel });
  const [left, top] = [width - scaled.width, height - scaled.height].map((room) => Math.floor(Math.abs(room) / 2));
  const pixels = await fromPixels(scaled);
  const framed =
    fit === 'cover'
      ? pixels.extract({ left: left!, top: top!, width, height })
      : pixels.extend({
          left: left!,
          top: top!,
          right: width - scaled.width - left!,
          bottom: height - scaled.height - top!,
          background,
        });
  return { width, height, channels: image.channels, data: new Uint8Array(await framed.raw().toBuffer()) };
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
  const exif = exifBlock({ userComment: parametersText(about), makerNote: metadataJson(about) });
  if (format === 'jpeg' && exif.length > largestJpegExif) {
    const message = `${exif.length} bytes of metadata do not fit into a JPEG: save as PNG or WebP, or without metadata`;
    throw new DejaDitError('INVALID_ARGUMENT', message, { path: 'metadata' });
  }
  const png = insertPngChunks(await pixels.png({ compressionLevel: 0 }).toBuffer(), [pngChunk('eXIf', exif)]);
  const sharp = await loadSharp();
  return sharp(png, { limitInputPixels: false }).keepExif();
}

function qualityFor(format: ImageFormat, quality: number | undefined): number {
  if (quality === undefined) return format === 'png' ? 100 : defaultQuality[format];
  if (format === 'png') {
    throw new DejaDitError('INVALID_ARGUMENT', 'PNG is lossless and has no quality: leave it out, or use JPEG or WebP');
  }
  if (Number.isInteger(quality) && quality >= 1 && quality <= 100) return quality;
  throw new DejaDitError('INVALID_ARGUMENT', `quality must be an integer from 1 to 100, got ${quality}`);
}
