/** What encoding and decoding images is asked for, whoever does it. */
import { DejaDitError } from '../errors/errors.ts';
import type { ImageFormat } from './files.ts';
import type { ImageMetadata } from './metadata.ts';
import type { ResampleKernel, ResampleRounding } from './resample.ts';

/** A path, a `file:` URL, or a file's bytes. */
export type ImageFileSource = string | URL | Uint8Array | Blob;

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
  /** Whose, to the byte: `'pillow'` (default), or `'torch'` for PyTorch's antialiased `interpolate` on bytes. */
  rounding?: ResampleRounding;
  /** Whether colours count as far as they are opaque, as in Pillow; the colour of what is transparent is lost. Default false: each channel by itself. */
  premultiplied?: boolean;
  /** Colour of the padding, any CSS colour. Default black. */
  background?: string;
}

const defaultQuality = { jpeg: 92, webp: 92, avif: 70 };
export const defaultMaxPixels = 2 ** 26;

/** The bytes of a file that is in memory. */
export async function bytesOf(source: Uint8Array | Blob): Promise<Uint8Array> {
  return source instanceof Blob ? new Uint8Array(await source.arrayBuffer()) : source;
}

/** The quality to encode with. @throws DejaDitError `INVALID_ARGUMENT` */
export function qualityFor(format: ImageFormat, quality: number | undefined): number {
  if (quality === undefined) return format === 'png' ? 100 : defaultQuality[format];
  if (format === 'png') {
    throw new DejaDitError('INVALID_ARGUMENT', 'PNG is lossless and has no quality: leave it out, or use JPEG or WebP');
  }
  if (Number.isInteger(quality) && quality >= 1 && quality <= 100) return quality;
  throw new DejaDitError('INVALID_ARGUMENT', `quality must be an integer from 1 to 100, got ${quality}`);
}
