/** Pictures between the engine and what pages show and take. */

import { fromRgba, pixelsOf, toRgba } from '../images/codec.web.ts';
import type { EncodeOptions } from '../images/codec-options.ts';
import type { ImageFormat } from '../images/files.ts';
import { Image } from '../images/image.ts';

/** What a page may have of a picture. */
export type PictureSource = Image | Blob | ImageBitmap | ImageData | OffscreenCanvas;

/**
 * The picture as the engine takes it, for image-to-image.
 * @throws DejaDitError `UNSUPPORTED` or `INVALID_FILE` for a blob that is no picture
 * @example
 * const image = await imageFrom(input.files[0]!);
 * const { images } = await pipe.generate({ prompt, image, strength: 0.6 });
 */
export async function imageFrom(source: PictureSource): Promise<Image> {
  if (source instanceof Image) return source;
  if (source instanceof Blob) return Image.load(source);
  if (source instanceof ImageData) return new Image(fromRgba(source));
  return new Image(pixelsOf(source));
}

/** For `putImageData`. */
export function toImageData(image: Image): ImageData {
  return toRgba(image);
}

/** For `drawImage`, and to hand to another thread; close it when it is done with. */
export function toImageBitmap(image: Image): Promise<ImageBitmap> {
  return createImageBitmap(toRgba(image));
}

/**
 * The picture's file, to show or to download.
 * @example
 * const address = URL.createObjectURL(await toBlob(image, 'png', { metadata: { prompt } }));
 */
export async function toBlob(image: Image, format: ImageFormat = 'png', options: EncodeOptions = {}): Promise<Blob> {
  return new Blob([await image.encode(format, options)], { type: `image/${format}` });
}
