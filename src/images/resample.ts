/**
 * Resampling as Pillow does it, to the byte: starting images then mean the same to a model here as in Diffusers. Every channel is
 * resampled by itself: where a picture is transparent, its hidden colour never bleeds into what is seen, nor is it lost.
 */
import type { Pixels } from './pixels.ts';

export type ResampleKernel = 'nearest' | 'linear' | 'cubic' | 'lanczos3';

/** Weight at a distance in source pixels, and the distance from which it is 0. */
interface Filter {
  support: number;
  weight(x: number): number;
}

const filters: Record<Exclude<ResampleKernel, 'nearest'>, Filter> = {
  linear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  cubic: { support: 2, weight: cubic },
  lanczos3: { support: 3, weight: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** Whose rounding: Pillow's, or that of PyTorch's antialiased `interpolate` on bytes, which torchvision calls. */
export type ResampleRounding = 'pillow' | 'torch';

interface Resampling {
  filter: Filter;
  rounding: ResampleRounding;
}

/** The picture at another size: along one axis, then along the other, each rounded to bytes. */
export function resample(
  image: Pixels,
  { width, height, kernel, rounding = 'pillow' }: Size & { kernel: ResampleKernel; rounding?: ResampleRounding },
): Pixels {
  if (kernel === 'nearest') return pick(image, { width, height });
  const how = { filter: filters[kernel], rounding };
  const across = (from: Pixels) => resampleRows(from, { width, ...how });
  const down = (from: Pixels) => resampleColumns(from, { height, ...how });
  // The order shows in the rounding. Pillow goes down first where that drops more than twice as many rows as columns are dropped.
  const [rows, columns] = [image.height - height, image.width - width];
  return rounding === 'pillow' && rows > 0 && rows > 2 * columns ? across(down(image)) : down(across(image));
}

function resampleRows(image: Pixels, { width, ...how }: { width: number } & Resampling): Pixels {
  if (width === image.width) return image;
  const { channels, height } = image;
  const data = convolve(image.data, {
    ...filterWindows({ from: image.width, to: width, ...how }),
    lines: { count: height, stride: image.width * channels },
    step: channels,
  });
  return { width, height, channels, data };
}

/** All bytes of a row share the weights, so the picture is one line whose elements are rows. */
function resampleColumns(image: Pixels, { height, ...how }: { height: number } & Resampling): Pixels {
  if (height === image.height) return image;
  const { channels, width } = image;
  const data = convolve(image.data, {
    ...filterWindows({ from: image.height, to: height, ...how }),
    lines: { count: 1, stride: 0 },
    step: width * channels,
  });
  return { width, height, channels, data };
}

export interface Size {
  width: number;
  height: number;
}

/** The source pixels that make up one target pixel. */
interface FilterWindow {
  first: number;
  weights: Int32Array;
}

/** @returns the windows, and how many bits of their weights are a fraction */
function filterWindows({ from, to, filter, rounding }: { from: number; to: number } & Resampling) {
  const scale = from / to;
  // Shrinking widens the filter, so that all source pixels count.
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  const shares = Array.from({ length: to }, (_, target) => {
    const centre = (target + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(from, Math.trunc(centre + support + 0.5));
    const weights = Float64Array.from({ length: end - first }, (_, i) =>
      filter.weight((first + i - centre + 0.5) * (1 / stretch)),
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
  const precision = rounding === 'pillow' ? 22 : bitsIn16(shares);
  const fixed = (weight: number) => Math.trunc(weight * 2 ** precision + (weight < 0 ? -0.5 : 0.5));
  const windows = shares.map(
    ({ first, weights }): FilterWindow => ({ first, weights: Int32Array.from(weights, fixed) }),
  );
  return { windows, precision };
}

/** As many bits, at most 22, as leave the largest weight within a signed 16-bit integer. */
function bitsIn16(shares: readonly { weights: Float64Array }[]): number {
  const largest = Math.max(...shares.map(({ weights }) => Math.max(...weights)));
  let bits = 0;
  while (bits < 22 && Math.trunc(0.5 + largest * 2 ** (bits + 1)) < 2 ** 15) bits++;
  return bits;
}

interface Convolution {
  windows: readonly FilterWindow[];
  /** Fraction bits of the weights. */
  precision: number;
  /** Bytes from one line to the next. */
  lines: { count: number; stride: number };
  /** Bytes of an element of a line. */
  step: number;
}

/** In 32-bit integers, which hold every sum: weights are at most 2^22 in all and the largest byte is below 2^8. */
function convolve(source: Uint8Array, { windows, precision, lines, step }: Convolution): Uint8Array {
  const out = new Uint8ClampedArray(lines.count * windows.length * step);
  let to = 0;
  for (let line = 0; line < lines.count; line++) {
    for (let target = 0; target < windows.length; target++) {
      const { first, weights } = windows[target]!;
      const start = line * lines.stride + first * step;
      for (let byte = 0; byte < step; byte++) {
        let sum = 1 << (precision - 1);
        for (let i = 0, at = start + byte; i < weights.length; i++, at += step)
          sum = (sum + Math.imul(source[at]!, weights[i]!)) | 0;
        out[to++] = sum >> precision;
      }
    }
  }
  return new Uint8Array(out.buffer);
}

function pick(image: Pixels, { width, height }: Size): Pixels {
  const { channels } = image;
  const data = new Uint8Array(width * height * channels);
  for (let y = 0, at = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * image.height) / height) * image.width;
    for (let x = 0; x < width; x++, at += channels) {
      const from = (row + Math.floor(((x + 0.5) * image.width) / width)) * channels;
      for (let c = 0; c < channels; c++) data[at + c] = image.data[from + c]!;
    }
  }
  return { width, height, channels, data };
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** Keys 1981 with a = -0.5. */
function cubic(distance: number): number {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}
