import { copyFile, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Image } from '../images/image.ts';
import { comparePaths, type MetricName, metricNames, parseMetricNames } from './compare.ts';
import { markdownTable } from './markdown-table.ts';
import { psnr, wrappedPsnr } from './pixel-errors.ts';
import { ssim } from './ssim.ts';

const fixtures = new URL('../../fixtures/metrics/', import.meta.url).pathname;
const reference = join(fixtures, 'reference');
const test = join(fixtures, 'test');

/** null where the value is infinite, or the image too small for the window. */
type Golden = Record<string, Record<MetricName | 'wrappedPsnr' | 'ssimGaussian', number | null>>;
const golden = async (): Promise<Golden> => JSON.parse(await readFile(join(fixtures, 'values.json'), 'utf8'));

describe('values of scikit-image', () => {
  it('for every pair of two folders', async () => {
    const values = await golden();
    const { rows } = await comparePaths({ reference, test, metrics: metricNames });
    expect(rows.map(({ name }) => name)).toEqual(['flat', 'random', 'small', 'smooth-2', 'smooth-10']);
    for (const { name, values: got } of rows) {
      for (const metric of metricNames) {
        const want = values[name]![metric] ?? Infinity;
        if (want === Infinity) expect(got[metric]).toBe(Infinity);
        else expect(got[metric]! - want).toBeCloseTo(0, 10);
      }
    }
  });

  it('for the Gaussian window and the wrapped PSNR', async () => {
    for (const [name, values] of Object.entries(await golden())) {
      const [a, b] = await Promise.all([reference, test].map((folder) => Image.load(join(folder, `${name}.png`))));
      expect(wrappedPsnr(a!, b!)).toBeCloseTo(values.wrappedPsnr ?? Infinity, 10);
      if (values.ssimGaussian === null) {
        expect(() => ssim(a!, b!, { window: 'gaussian' })).toThrow('at least 11 x 11 pixels, got 7 x 7');
      } else {
        expect(ssim(a!, b!, { window: 'gaussian' })).toBeCloseTo(values.ssimGaussian, 10);
      }
    }
  });
});

describe('comparePaths', () => {
  const folderOf = async (files: Record<string, string>): Promise<string> => {
    const folder = await mkdtemp(join(tmpdir(), 'metrics-'));
    for (const [name, source] of Object.entries(files)) await copyFile(join(fixtures, source), join(folder, name));
    return folder;
  };

  it('sums up without the infinite ones', async () => {
    const { rows, summary } = await comparePaths({ reference, test, metrics: ['psnr', 'mse'] });
    const finite = rows.map(({ values }) => values.psnr!).filter(Number.isFinite);
    expect(finite).toHaveLength(4);
    expect(summary.psnr?.mean).toBeCloseTo(finite.reduce((a, b) => a + b) / 4, 12);
    expect(summary.psnr).toMatchObject({ min: 0, max: Infinity });
    expect(summary.mse).toMatchObject({ min: 0, max: 65025 });
    const same = await comparePaths({ reference, test: reference, metrics: ['psnr', 'ssim'] });
    expect(same.summary.psnr).toEqual({ mean: Infinity, min: Infinity, max: Infinity });
    expect(same.summary.ssim?.min).toBeCloseTo(1, 12);
  });

  it('takes two files, and pairs names with different extensions', async () => {
    const file = (folder: string) => join(folder, 'random.png');
    const one = await comparePaths({
      reference: file(reference),
      test: file(test),
      metrics: ['psnr'],
      psnrType: 'custom',
    });
    expect(one.rows).toHaveLength(1);
    expect(one.rows[0]!.values.psnr).toBeCloseTo((await golden())['random']!.wrappedPsnr!, 10);
    const jpeg = await folderOf({});
    await (await Image.load(join(reference, 'smooth-2.png'))).save(join(jpeg, 'a.jpg'));
    const png = await folderOf({ 'a.png': 'reference/smooth-2.png', 'notes.txt': 'values.json' });
    expect(
      (await comparePaths({ reference: png, test: jpeg, metrics: ['psnr'] })).rows[0]!.values.psnr,
    ).toBeGreaterThan(25);
  });

  it('says what does not fit', async () => {
    const compare = (a: string, b: string) => comparePaths({ reference: a, test: b, metrics: ['psnr'] });
    const some = await folderOf({ 'flat.png': 'test/flat.png', 'extra.png': 'test/flat.png' });
    await expect(compare(reference, some)).rejects.toThrow(
      `${some}: has no partner for 4 of 5 images: random, small, smooth-2, ...`,
    );
    const flat = await folderOf({ 'flat.png': 'test/flat.png' });
    await expect(compare(flat, some)).rejects.toThrow(`${flat}: has no partner for 1 of 2 images: extra`);
    const other = await folderOf({ 'flat.png': 'test/small.png' });
    await expect(compare(flat, other)).rejects.toThrow(
      `${join(flat, 'flat.png')} and ${join(other, 'flat.png')}: cannot compare images of 16 x 16 and 7 x 7 pixels`,
    );
    await writeFile(join(other, 'flat.jpg'), '');
    await expect(compare(flat, other)).rejects.toThrow("holds two images named 'flat': flat.jpg and flat.png");
    await expect(compare(flat, join(flat, 'flat.png'))).rejects.toThrow('one is a folder, the other a file');
    await expect(compare(flat, await folderOf({}))).rejects.toThrow('holds no images');
    await expect(compare(flat, join(flat, 'none'))).rejects.toThrow('none: no such image or folder');
  });
});

it('metric names: all, repeated, unknown and those of networks', () => {
  expect(parseMetricNames(['ssim', 'all', 'ssim'])).toEqual(['ssim', 'psnr', 'mse', 'rmse', 'mae']);
  expect(() => parseMetricNames(['psrn'])).toThrow("no metric 'psrn'; did you mean psnr?");
  for (const name of ['lpips', 'fid', 'clip_score', 'image_reward']) {
    expect(() => parseMetricNames([name])).toThrow(`${name}: needs the weights of a network`);
  }
});

it('alpha is not compared', () => {
  const rgb = new Image({ width: 1, height: 1, channels: 3, data: Uint8Array.of(1, 2, 3) });
  const rgba = new Image({ width: 1, height: 1, channels: 4, data: Uint8Array.of(1, 2, 3, 0) });
  expect(psnr(rgb, rgba)).toBe(Infinity);
});

it('tables line up', () => {
  expect(
    markdownTable(
      ['name', 'dB'],
      [
        ['a|b', '7'],
        ['long\nname', '12.50'],
      ],
    ),
  ).toBe(
    ['| name      |    dB |', '| --------- | ----: |', '| a\\|b      |     7 |', '| long name | 12.50 |'].join('\n'),
  );
});
