/**
 * Errors between two images, counted over all pixels and the three colours in double precision.
 * Levels are 0 to 255; alpha is not compared.
 */
import { DejaDitError } from '../errors/errors.ts';
import type { Pixels } from '../images/pixels.ts';

/** Mean squared error, in squared levels. */
export function mse(reference: Pixels, test: Pixels): number {
  return meanOf(reference, test, (a, b) => (a - b) ** 2);
}

/** Root of the mean squared error, in levels. */
export function rmse(reference: Pixels, test: Pixels): number {
  return Math.sqrt(mse(reference, test));
}

/**
 * Mean absolute error, in levels.
 * @example
 * const [a, b] = await Promise.all(['a.png', 'b.png'].map((file) => Image.load(file)));
 * console.log(mae(a, b), mse(a, b), rmse(a, b));
 */
export function mae(reference: Pixels, test: Pixels): number {
  return meanOf(reference, test, (a, b) => Math.abs(a - b));
}

/**
 * Peak signal-to-noise ratio in dB, 10 log10(255^2 / mse); Infinity for equal images.
 * @example
 * const decibels = psnr(await Image.load('true.png'), await Image.load('test.png'));
 */
export function psnr(reference: Pixels, test: Pixels): number {
  return decibels(mse(reference, test));
}

/**
 * PSNR as cache-dit's `--psnr-type custom` counts it: differences and squares wrap around at 8 bits, so that hardly any
 * pair of images scores below 28 dB. Only for comparing with tables that were made this way.
 */
export function wrappedPsnr(reference: Pixels, test: Pixels): number {
  return decibels(meanOf(reference, test, (a, b) => ((a - b) * (a - b)) & 255));
}

/** @throws DejaDitError `SHAPE_MISMATCH` unless both images have one size */
export function checkSameSize(reference: Pixels, test: Pixels): void {
  if (reference.width === test.width && reference.height === test.height) return;
  const sizes = [reference, test].map(({ width, height }) => `${width} x ${height}`);
  throw new DejaDitError('SHAPE_MISMATCH', `cannot compare images of ${sizes[0]} and ${sizes[1]} pixels`);
}

function decibels(meanSquare: number): number {
  return 10 * Math.log10(255 ** 2 / meanSquare);
}

function meanOf(reference: Pixels, test: Pixels, error: (a: number, b: number) => number): number {
  checkSameSize(reference, test);
  const count = reference.width * reference.height;
  let sum = 0;
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) {
      sum += error(reference.data[i * reference.channels + c]!, test.data[i * test.channels + c]!);
    }
  }
  return sum / (3 * count);
}
