/**
 * Pixels to file bytes and back, with what browsers have: their decoders and canvases. Alpha passes through a canvas premultiplied, so
 * the colour of nearly transparent pixels is rounded; opaque pictures pass unchanged.
 */
import { DejaDitError } from '../errors/errors.ts';
import {
  bytesOf,
  defaultMaxPixels,
  type EncodeOptions,
  type ImageFileSource,
  type LoadOptions,
  qualityFor,
} from './codec-options.ts';
import { type ImageFormat, isReadable, oneLine } from './files.ts';
import { asciiJson, parametersText } from './metadata.ts';
import type { Pixels } from './pixels.ts';
import { insertPngChunks, isPng, pictureChunks, pngText } from './png-chunks.ts';

export async function decodeImage(source: ImageFileSource, options: LoadOptions): Promise<Pixels> {
  if (typeof source === 'string' || source instanceof URL) {
    const message = 'a page reads no files by name: fetch it, and pass its bytes or Blob';
    throw new DejaDitError('UNSUPPORTED', message, { path: String(source) });
  }
  const bytes = await bytesOf(source);
  if (!isReadable(bytes))
    throw new DejaDitError('UNSUPPORTED', 'is not a PNG, JPEG, WebP, AVIF or GIF image', { path: 'image' });
  const picture = isPng(bytes) ? pictureChunks(bytes) : bytes;
  const bitmap = await createImageBitmap(new Blob([picture as Uint8Array<ArrayBuffer>])).catch((cause: unknown) => {
    throw new DejaDitError('INVALID_FILE', `cannot be decoded: ${oneLine(cause)}`, { path: 'image', cause });
  });
  try {
    return pixelsOf(bitmap, options);
  } finally {
    bitmap.close();
  }
}

/** What can be drawn on a canvas, as pixels: RGB if all of it is opaque, else RGBA. */
export function pixelsOf(
  source: ImageBitmap | OffscreenCanvas,
  { maxPixels = defaultMaxPixels }: LoadOptions = {},
): Pixels {
  const { width, height } = source;
  if (width * height > maxPixels) {
    const message = `has ${width} x ${height} pixels, more than the ${maxPixels} of maxPixels`;
    throw new DejaDitError('INVALID_FILE', message, { path: 'image' });
  }
  const context = contextOf(new OffscreenCanvas(width, height));
  context.drawImage(source, 0, 0);
  return fromRgba(context.getImageData(0, 0, width, height));
}

/** Pixels as canvases have them, without the alpha that says nothing. */
export function fromRgba({ data, width, height }: ImageData): Pixels {
  const count = width * height;
  let opaque = true;
  for (let i = 0; i < count && opaque; i++) opaque = data[4 * i + 3] === 255;
  if (!opaque) return { width, height, channels: 4, data: new Uint8Array(data) };
  const rgb = new Uint8Array(3 * count);
  for (let i = 0; i < count; i++) for (let c = 0; c < 3; c++) rgb[3 * i + c] = data[4 * i + c]!;
  return { width, height, channels: 3, data: rgb };
}

/** Pixels as canvases take them. */
export function toRgba({ width, height, channels, data }: Pixels): ImageData {
  const rgba = new Uint8ClampedArray(4 * width * height).fill(255);
  for (let i = 0; i < width * height; i++) for (let c = 0; c < channels; c++) rgba[4 * i + c] = data[channels * i + c]!;
  return new ImageData(rgba, width, height);
}

export async function encodeImage(image: Pixels, format: ImageFormat, options: EncodeOptions): Promise<Uint8Array> {
  const { metadata } = options;
  const quality = qualityFor(format, options.quality) / 100;
  if (metadata && format !== 'png') {
    const message = `a page writes metadata into PNG only, not into ${format}: leave it out, or encode as png`;
    throw new DejaDitError('UNSUPPORTED', message, { path: 'metadata' });
  }
  const canvas = new OffscreenCanvas(image.width, image.height);
  contextOf(canvas).putImageData(toRgba(image), 0, 0);
  const type = `image/${format}`;
  const blob = await canvas.convertToBlob({ type, quality });
  // What a browser cannot encode it encodes as PNG.
  if (blob.type !== type) throw new DejaDitError('UNSUPPORTED', `this browser encodes no ${format}, use png or jpeg`);
  const bytes = await bytesOf(blob);
  if (!metadata) return bytes;
  const about = { ...metadata, width: image.width, height: image.height };
  return insertPngChunks(bytes, [pngText('parameters', parametersText(about)), pngText('deja-dit', asciiJson(about))]);
}

/** Red, green, blue and alpha of a CSS colour, as bytes. */
export async function parseColour(colour: string): Promise<Uint8Array> {
  const context = contextOf(new OffscreenCanvas(1, 1));
  // A style that is no colour is not taken over; no colour leaves both of these as they were.
  const taken = ['#000', '#fff'].map((before) => {
    context.fillStyle = before;
    context.fillStyle = colour;
    return context.fillStyle;
  });
  if (taken[0] !== taken[1])
    throw new DejaDitError('INVALID_ARGUMENT', `'${colour}' is no CSS colour`, { path: 'background' });
  context.fillRect(0, 0, 1, 1);
  return new Uint8Array(context.getImageData(0, 0, 1, 1).data);
}

function contextOf(canvas: OffscreenCanvas): OffscreenCanvasRenderingContext2D {
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (context) return context;
  throw new DejaDitError('UNSUPPORTED', `no canvas of ${canvas.width} x ${canvas.height} pixels can be made here`);
}
