/**
 * Structural similarity (Wang, Bovik, Sheikh, Simoncelli: Image quality assessment: from error visibility to structural
 * similarity, 2004), with the choices of scikit-image: sample covariances, only windows that lie wholly inside the image,
 * each colour for itself and then their mean.
 */
import { DejaDitError } from '../errors/errors.ts';
import type { Pixels } from '../images/pixels.ts';
import { checkSameSize } from './pixel-errors.ts';

export interface SsimOptions {
  /**
   * `'uniform'` (default, as in scikit-image): 7 x 7 equal weights. `'gaussian'`: sigma 1.5, 11 x 11, as in the paper
   * (scikit-image's `gaussian_weights=True`).
   */
  window?: 'uniform' | 'gaussian';
}

/** Stabilisers of the two quotients, for 255 levels. */
const c1 = (0.01 * 255) ** 2;
const c2 = (0.03 * 255) ** 2;

/**
 * Mean structural similarity over windows and colours: 1 for equal images, around 0 for unrelated ones.
 *
 * @throws DejaDitError `SHAPE_MISMATCH` for images of different sizes or smaller than the window
 * @example
 * const [a, b] = await Promise.all(['a.png', 'b.png'].map((file) => Image.load(file)));
 * console.log(ssim(a, b, { window: 'gaussian' }));
 */
export function ssim(reference: Pixels, test: Pixels, { window = 'uniform' }: SsimOptions = {}): number {
  checkSameSize(reference, test);
  const weights = window === 'gaussian' ? gaussian(5, 1.5) : new Float64Array(7).fill(1 / 7);
  const { width, height } = reference;
  if (width < weights.length || height < weights.length) {
    const side = weights.length;
    throw new DejaDitError(
      'SHAPE_MISMATCH',
      `SSIM needs images of at least ${side} x ${side} pixels, got ${width} x ${height}`,
    );
  }
  const colours = [0, 1, 2].map((colour) => {
    const a = plane(reference, colour);
    const b = plane(test, colour);
    const means = (values: Float64Array) => windowMeans(values, { width, height, weights });
    const [meanA, meanB] = [means(a), means(b)];
    const [meanAA, meanBB, meanAB] = [means(product(a, a)), means(product(b, b)), means(product(a, b))];
    const sample = weights.length ** 2 / (weights.length ** 2 - 1);
    let sum = 0;
    for (let i = 0; i < meanA.length; i++) {
      const [x, y] = [meanA[i]!, meanB[i]!];
      const varianceX = sample * (meanAA[i]! - x * x);
      const varianceY = sample * (meanBB[i]! - y * y);
      const covariance = sample * (meanAB[i]! - x * y);
      const luminance = (2 * x * y + c1) / (x * x + y * y + c1);
      sum += (luminance * (2 * covariance + c2)) / (varianceX + varianceY + c2);
    }
    return sum / meanA.length;
  });
  return colours.reduce((sum, value) => sum + value, 0) / colours.length;
}

function plane({ data, channels, width, height }: Pixels, colour: number): Float64Array {
  const out = new Float64Array(width * height);
  for (let i = 0; i < out.length; i++) out[i] = data[i * channels + colour]!;
  return out;
}

function product(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value * b[i]!);
}

/** Weighted means of every window that fits, by rows and then by columns. */
function windowMeans(
  values: Float64Array,
  { width, height, weights }: { width: number; height: number; weights: Float64Array },
): Float64Array {
  const side = weights.length;
  const [columns, rows] = [width - side + 1, height - side + 1];
  const across = new Float64Array(columns * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < columns; x++) {
      let sum = 0;
      for (let k = 0; k < side; k++) sum += weights[k]! * values[y * width + x + k]!;
      across[y * columns + x] = sum;
    }
  }
  const out = new Float64Array(columns * rows);
  for (let i = 0; i < out.length; i++) {
    let sum = 0;
    for (let k = 0; k < side; k++) sum += weights[k]! * across[i + k * columns]!;
    out[i] = sum;
  }
  return out;
}

function gaussian(radius: number, sigma: number): Float64Array {
  const weights = Float64Array.from({ length: 2 * radius + 1 }, (_, i) => Math.exp(-0.5 * ((i - radius) / sigma) ** 2));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}
