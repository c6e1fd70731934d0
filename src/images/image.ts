/**
 * An image in memory: 8-bit RGB or RGBA pixels, what pipelines return and image-to-image takes.
 * File formats are in `codec.ts`, the text inside files in `metadata.ts`, grids and terminals in files of their own.
 */

import { writeFileAtomically } from '#files/replace-file';
import { decodeImage, encodeImage } from '#images/codec';
import { DejaDitError } from '../errors/errors.ts';
import { writesOutputs } from '../files/output-rank.ts';
import { roundHalfEven } from '../tensor/rounding.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { EncodeOptions, ImageFileSource, LoadOptions, ResizeOptions } from './codec-options.ts';
import { formatOf, type ImageFormat } from './files.ts';
import type { Pixels } from './pixels.ts';
import { resizePixels } from './resize.ts';

export interface TensorRange {
  /** What the floats span: `'-1..1'` (default; what a VAE gives and takes) or `'0..1'`. */
  range?: '-1..1' | '0..1';
}

/** A part of an image, in pixels from its upper left corner. */
export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

export class Image implements Pixels {
  /** Pixels across. */
  readonly width: number;
  /** Pixels down. */
  readonly height: number;
  /** 3 for RGB, 4 for RGBA (alpha not premultiplied). */
  readonly channels: 3 | 4;
  /** Rows from the top, pixels from the left, channels interleaved: `height * width * channels` bytes. */
  readonly data: Uint8Array;

  /** @throws DejaDitError `SHAPE_MISMATCH` if `data` does not have `height * width * channels` bytes */
  constructor({ width, height, channels, data }: Pixels) {
    if (!(Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0)) {
      throw new DejaDitError('INVALID_ARGUMENT', `an image cannot be ${width} x ${height} pixels`);
    }
    if ((channels !== 3 && channels !== 4) || data.length !== width * height * channels) {
      throw new DejaDitError(
        'SHAPE_MISMATCH',
        `an image of ${width} x ${height} pixels and ${channels} channels cannot have ${data.length} bytes`,
      );
    }
    this.width = width;
    this.height = height;
    this.channels = channels;
    this.data = data;
  }

  /**
   * The image of a [C, H, W] or [1, C, H, W] float tensor with 1 (grey), 3 or 4 channels. Values outside the range are
   * clamped and levels rounded half to even in float32, so that the bytes are those of Diffusers' VaeImageProcessor.
   *
   * @throws DejaDitError `SHAPE_MISMATCH` for other shapes, `RUNTIME` if a value is not a number
   */
  static fromTensor(tensor: Tensor, options: TensorRange = {}): Image {
    const shape = tensor.shape.length === 3 ? [1, ...tensor.shape] : tensor.shape;
    if (shape.length !== 4 || shape[0] !== 1) {
      throw new DejaDitError('SHAPE_MISMATCH', `an image needs shape [C, H, W] or [1, C, H, W], got [${tensor.shape}]`);
    }
    return imagesFromTensor(tensor.reshape(shape), options)[0]!;
  }

  /**
   * Reads a PNG, JPEG, WebP, AVIF or GIF (its first frame), turned upright and converted to 8-bit sRGB.
   *
   * @param source a path, a `file:` URL, or a file's bytes
   * @throws DejaDitError `NOT_FOUND`, `UNSUPPORTED` for other formats, `INVALID_FILE` for damaged or oversized images
   * @example
   * const start = await Image.load('photo.jpg');
   * const { images } = await pipe.generate({ prompt, image: start, strength: 0.6 });
   */
  static async load(source: ImageFileSource, options: LoadOptions = {}): Promise<Image> {
    return new Image(await decodeImage(source, options));
  }

  /** Float32 tensor [1, 3, H, W] without alpha, or [1, 4, H, W] with it. @param alpha default false */
  toTensor({ range = '-1..1', alpha = false }: TensorRange & { alpha?: boolean } = {}): Tensor {
    const { width, height, channels, data } = this;
    const plane = width * height;
    const planes = alpha ? 4 : 3;
    const out = new Float32Array(planes * plane).fill(1, 3 * plane);
    const unit = Float32Array.from({ length: 256 }, (_, level) => level / 255);
    const levels = range === '0..1' ? unit : unit.map((value) => 2 * value - 1);
    const known = Math.min(planes, channels);
    for (let i = 0; i < plane; i++) {
      for (let c = 0; c < known; c++) out[c * plane + i] = levels[data[i * channels + c]!]!;
    }
    return new Tensor('float32', out, [1, planes, height, width]);
  }

  /** A resampled copy (Lanczos unless told otherwise). */
  async resize(width: number, height: number, options: ResizeOptions = {}): Promise<Image> {
    return new Image(await resizePixels(this, { ...options, width, height }));
  }

  /**
   * A part of it, copied.
   * @throws DejaDitError `INVALID_ARGUMENT` if it is not all within the image
   */
  crop({ left, top, width, height }: Box): Image {
    const { channels } = this;
    const isInside = left >= 0 && top >= 0 && width > 0 && height > 0;
    if (!isInside || left + width > this.width || top + height > this.height) {
      const message = `${width} x ${height} pixels at ${left}, ${top} are not within ${this.width} x ${this.height}`;
      throw new DejaDitError('INVALID_ARGUMENT', message);
    }
    const data = new Uint8Array(width * height * channels);
    for (let row = 0; row < height; row++) {
      const from = ((top + row) * this.width + left) * channels;
      data.set(this.data.subarray(from, from + width * channels), row * width * channels);
    }
    return new Image({ width, height, channels, data });
  }

  /**
   * The bytes of an image file. See `EncodeOptions` for quality and metadata.
   * @example
   * const answer = new Response(await image.encode('webp', { quality: 90 }));
   */
  async encode(format: ImageFormat, options: EncodeOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    return new Uint8Array(await encodeImage(this, format, options));
  }

  /**
   * Writes the image in the format that the file's extension names. Folders are created; the file appears complete or
   * not at all. Of several ranks that compute it, the first writes.
   */
  async save(path: string, options: EncodeOptions = {}): Promise<void> {
    const format = formatOf(path);
    if (writesOutputs()) await writeFileAtomically(path, await this.encode(format, options));
  }
}

/** One image per entry of a [N, C, H, W] float tensor. Rounding and errors as in `Image.fromTensor`. */
export function imagesFromTensor(tensor: Tensor, { range = '-1..1' }: TensorRange = {}): Image[] {
  const [count = 0, planes = 0, height = 0, width = 0] = tensor.shape;
  if (tensor.shape.length !== 4 || ![1, 3, 4].includes(planes)) {
    throw new DejaDitError('SHAPE_MISMATCH', `images need shape [N, 1 | 3 | 4, H, W], got [${tensor.shape}]`);
  }
  const values = tensor.float().data;
  const channels = planes === 4 ? 4 : 3;
  const plane = width * height;
  return Array.from({ length: count }, (_, n) => {
    const data = new Uint8Array(plane * channels);
    for (let c = 0; c < channels; c++) {
      const from = (n * planes + Math.min(c, planes - 1)) * plane;
      for (let i = 0; i < plane; i++) data[i * channels + c] = toLevel(Number(values[from + i]), range);
    }
    return new Image({ width, height, channels, data });
  });
}

function toLevel(value: number, range: TensorRange['range']): number {
  const unit = range === '0..1' ? value : Math.fround(Math.fround(value * 0.5) + 0.5);
  if (Number.isNaN(unit)) {
    throw new DejaDitError('RUNTIME', 'the image tensor holds values that are not numbers (NaN)');
  }
  return roundHalfEven(Math.fround(Math.min(1, Math.max(0, unit)) * 255));
}
