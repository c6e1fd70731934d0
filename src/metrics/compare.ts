/**
 * Metrics by name, over two images, two files or two folders of images. Reading images is left to `images/`, printing
 * to the command line.
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { DejaDitError, suggest } from '../errors/errors.ts';
import { Image } from '../images/image.ts';
import type { Pixels } from '../images/pixels.ts';
import { mae, mse, psnr, rmse, wrappedPsnr } from './pixel-errors.ts';
import { type SsimOptions, ssim } from './ssim.ts';

export const metricNames = ['psnr', 'ssim', 'mse', 'rmse', 'mae'] as const;
export type MetricName = (typeof metricNames)[number];

/** Metrics of cache-dit's command line that are computed by networks whose weights we do not ship. */
const networkMetrics = ['lpips', 'fid', 'clip_score', 'image_reward'];

export interface MetricOptions {
  /** `'skimage'` (default) or `'custom'`, the 8-bit arithmetic of cache-dit's tables; see `wrappedPsnr`. */
  psnrType?: 'skimage' | 'custom';
  /** Window of SSIM. Default `'uniform'`. */
  ssimWindow?: SsimOptions['window'];
}

export interface Comparison {
  /** One row per pair, in natural order of the names ("2" before "10"). */
  rows: { name: string; values: Partial<Record<MetricName, number>> }[];
  /** Over all rows. Infinite values (PSNR of equal images) are left out of the mean unless there is nothing else. */
  summary: Partial<Record<MetricName, { mean: number; min: number; max: number }>>;
}

/**
 * The metrics that names stand for: `all`, or any of `metricNames`.
 *
 * @throws DejaDitError `UNSUPPORTED` for metrics that need a network, `INVALID_ARGUMENT` for unknown names
 */
export function parseMetricNames(names: readonly string[]): MetricName[] {
  const found = names.flatMap((name): readonly MetricName[] => {
    if (name === 'all') return metricNames;
    const known = metricNames.find((candidate) => candidate === name);
    if (known !== undefined) return [known];
    if (networkMetrics.includes(name)) {
      const message = `needs the weights of a network, which deja-dit does not ship; use ${metricNames.join(', ')}`;
      throw new DejaDitError('UNSUPPORTED', message, { path: name });
    }
    throw new DejaDitError(
      'INVALID_ARGUMENT',
      `there is no metric '${name}'; ${suggest(name, [...metricNames, 'all'])}`,
    );
  });
  return [...new Set(found)];
}

/** One metric of two images of the same size. Higher is better for `psnr` (dB) and `ssim`, lower for the others. */
export function computeMetric(
  name: MetricName,
  { reference, test, psnrType = 'skimage', ssimWindow }: MetricOptions & { reference: Pixels; test: Pixels },
): number {
  switch (name) {
    case 'psnr':
      return psnrType === 'custom' ? wrappedPsnr(reference, test) : psnr(reference, test);
    case 'ssim':
      return ssim(reference, test, { window: ssimWindow });
    case 'mse':
      return mse(reference, test);
    case 'rmse':
      return rmse(reference, test);
    case 'mae':
      return mae(reference, test);
  }
}

/**
 * Compares two image files, or two folders whose images are paired by name (extensions may differ).
 *
 * @throws DejaDitError `NOT_FOUND` if a folder is empty or lacks a partner of an image in the other, `SHAPE_MISMATCH`
 * naming both files if their sizes differ
 * @example
 * const { rows } = await comparePaths({ reference: 'uncached/', test: 'cached/', metrics: metricNames });
 */
export async function comparePaths({
  reference,
  test,
  metrics,
  ...options
}: MetricOptions & { reference: string; test: string; metrics: readonly MetricName[] }): Promise<Comparison> {
  const rows: Comparison['rows'] = [];
  for (const pair of await pairPaths(reference, test)) {
    const [a, b] = await Promise.all([Image.load(pair.reference), Image.load(pair.test)]);
    try {
      const values = metrics.map((name) => [name, computeMetric(name, { ...options, reference: a, test: b })]);
      rows.push({ name: pair.name, values: Object.fromEntries(values) });
    } catch (cause) {
      if (!(cause instanceof DejaDitError)) throw cause;
      throw new DejaDitError(cause.code, cause.message, { path: `${pair.reference} and ${pair.test}`, cause });
    }
  }
  const summary = metrics.map((name) => [name, summarise(rows.map(({ values }) => values[name]!))]);
  return { rows, summary: Object.fromEntries(summary) };
}

function summarise(values: number[]): { mean: number; min: number; max: number } {
  const finite = values.filter(Number.isFinite);
  const counted = finite.length > 0 ? finite : values;
  const mean = counted.reduce((sum, value) => sum + value, 0) / counted.length;
  // Not Math.min(...values): a folder may hold more images than a call takes arguments.
  const extreme = (pick: (a: number, b: number) => number) => values.reduce((a, b) => pick(a, b));
  return { mean, min: extreme(Math.min), max: extreme(Math.max) };
}

interface Pair {
  name: string;
  reference: string;
  test: string;
}

async function pairPaths(reference: string, test: string): Promise<Pair[]> {
  const [referenceIsFolder, testIsFolder] = await Promise.all([isFolder(reference), isFolder(test)]);
  if (referenceIsFolder !== testIsFolder) {
    const message = `cannot be compared with ${test}: one is a folder, the other a file`;
    throw new DejaDitError('INVALID_ARGUMENT', message, { path: reference });
  }
  if (!referenceIsFolder) return [{ name: basename(test), reference, test }];
  const [from, to] = await Promise.all([imagesIn(reference), imagesIn(test)]);
  lacking(to, { names: from, folder: test });
  lacking(from, { names: to, folder: reference });
  return [...from.keys()].map((name) => ({ name, reference: from.get(name)!, test: to.get(name)! }));
}

function lacking(images: Map<string, string>, { names, folder }: { names: Map<string, string>; folder: string }): void {
  const missing = [...names.keys()].filter((name) => !images.has(name));
  if (missing.length === 0) return;
  const some = missing.slice(0, 3).join(', ') + (missing.length > 3 ? ', ...' : '');
  const message = `has no partner for ${missing.length} of ${names.size} images: ${some}`;
  throw new DejaDitError('NOT_FOUND', message, { path: folder });
}

/** Paths of a folder's images by name without extension. */
async function imagesIn(folder: string): Promise<Map<string, string>> {
  const files = (await readdir(folder)).filter((file) => /^[^.].*\.(png|jpe?g|webp|avif|gif)$/i.test(file));
  if (files.length === 0) throw new DejaDitError('NOT_FOUND', 'holds no images', { path: folder });
  const naturally = new Intl.Collator('en', { numeric: true }).compare;
  const images = new Map<string, string>();
  for (const file of files.sort(naturally)) {
    const name = basename(file, extname(file));
    const other = images.get(name);
    if (other !== undefined) {
      throw new DejaDitError('INVALID_ARGUMENT', `holds two images named '${name}': ${basename(other)} and ${file}`, {
        path: folder,
      });
    }
    images.set(name, join(folder, file));
  }
  return images;
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    throw new DejaDitError('NOT_FOUND', 'no such image or folder', { path, cause });
  }
}
