/** Images at other sizes: stretched, cropped or padded. */
import { parseColour } from '#images/codec';
import { DejaDitError } from '../errors/errors.ts';
import { premultiplied, unpremultiplied } from './alpha.ts';
import type { ResizeOptions } from './codec-options.ts';
import type { Pixels } from './pixels.ts';
import { resample } from './resample.ts';

/** @throws DejaDitError `INVALID_ARGUMENT` */
export async function resizePixels(
  image: Pixels,
  { premultiplied: isPremultiplied = false, ...options }: ResizeOptions & { width: number; height: number },
): Promise<Pixels> {
  if (!isPremultiplied) return resized(image, options);
  return unpremultiplied(await resized(premultiplied(image), options));
}

async function resized(
  image: Pixels,
  {
    width,
    height,
    fit = 'fill',
    kernel = 'lanczos3',
    rounding = 'pillow',
    background = 'black',
  }: ResizeOptions & { width: number; height: number },
): Promise<Pixels> {
  const isSize = (n: number) => Number.isInteger(n) && n > 0 && n < 2 ** 15;
  if (!isSize(width) || !isSize(height)) {
    throw new DejaDitError('INVALID_ARGUMENT', `cannot resize an image to ${width} x ${height} pixels`);
  }
  if (fit === 'fill') return resample(image, { width, height, kernel, rounding });
  const scales = [width / image.width, height / image.height];
  const scale = fit === 'cover' ? Math.max(...scales) : Math.min(...scales);
  const edge = (length: number) => Math.max(1, Math.round(length * scale));
  const scaled = resample(image, { width: edge(image.width), height: edge(image.height), kernel, rounding });
  return place(scaled, { width, height, background: await parseColour(background) });
}

/** The picture in the middle of a frame: what reaches out is cut off, what is left over is filled. */
function place(
  image: Pixels,
  { width, height, background }: { width: number; height: number; background: Uint8Array },
): Pixels {
  const { channels } = image;
  const data = new Uint8Array(width * height * channels);
  for (let at = 0; at < data.length; at++) data[at] = background[at % channels]!;
  const [left, top] = [start(width, image.width), start(height, image.height)];
  const columns = Math.min(width, image.width);
  for (let row = 0; row < Math.min(height, image.height); row++) {
    const from = ((row + top.cut) * image.width + left.cut) * channels;
    data.set(image.data.subarray(from, from + columns * channels), ((row + top.room) * width + left.room) * channels);
  }
  return { width, height, channels, data };
}

/** Where a length begins in a frame (`room`), or a frame in it (`cut`). */
function start(frame: number, length: number): { room: number; cut: number } {
  const half = Math.floor(Math.abs(frame - length) / 2);
  return frame >= length ? { room: half, cut: 0 } : { room: 0, cut: half };
}
