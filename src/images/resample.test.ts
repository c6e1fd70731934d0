/** Against Pillow and PyTorch: what becomes of a picture before a model sees it (fixtures/images/start). */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { dims, type Tensor } from '../tensor/tensor.ts';
import { readSafetensors } from '../weights/safetensors/safetensors.ts';
import { onWhite } from './alpha.ts';
import { Image } from './image.ts';
import type { ResampleKernel } from './resample.ts';

const folder = path.resolve(import.meta.dirname, '../../fixtures/images/start');
const files = readdirSync(folder).filter((name) => /\.(png|jpg|webp)$/.test(name));

let pillow: Record<string, Tensor>;
beforeAll(async () => {
  pillow = await readSafetensors(path.join(folder, 'pillow.safetensors'));
});

/** Largest difference in levels between the colours of an image and recorded ones [H, W, 3]. */
function difference({ width, height, channels, data }: Image, recorded: Tensor): number {
  expect([height, width, 3]).toEqual(recorded.shape);
  const levels = recorded.data as Uint8Array;
  return levels.reduce((worst, level, i) => {
    const own = data[Math.floor(i / 3) * channels + (i % 3)]!;
    return Math.max(worst, Math.abs(own - level));
  }, 0);
}

describe('a starting image', () => {
  it.each(files)('%s', async (file) => {
    const image = await Image.load(path.join(folder, file));
    // Decoders of JPEG may round differently, and resampling passes a level on.
    const tolerance = file.endsWith('.jpg') ? 2 : 0;
    expect(difference(image, pillow[file]!)).toBeLessThanOrEqual(tolerance);
    for (const size of ['small', 'large']) {
      const expected = pillow[`${file}.${size}`]!;
      const [height, width] = dims(expected, 3);
      expect(difference(await image.resize(width, height), expected), size).toBeLessThanOrEqual(tolerance);
    }
  });

  it('keeps the colour under its transparent border', async () => {
    const cutout = await Image.load(path.join(folder, 'cutout.png'));
    const resized = await cutout.resize(13, 9);
    expect([...resized.data.subarray(0, 4)]).toEqual([255, 255, 255, 0]);
    expect(resized.toTensor().data[0]).toBe(1);
  });
});

describe('a transparent picture', () => {
  it.each(['small', 'large'])('weighs colours by opacity as in Pillow: %s', async (size) => {
    const image = await Image.load(path.join(folder, 'soft-alpha.png'));
    const expected = pillow[`premultiplied.${size}`]!;
    const [height, width] = dims(expected, 3);
    expect((await image.resize(width, height, { premultiplied: true })).data).toEqual(expected.data);
  });

  it('is seen before white as in Pillow', async () => {
    const image = await Image.load(path.join(folder, 'soft-alpha.png'));
    expect(onWhite(image).data).toEqual(pillow.on_white!.data);
    expect([...image.toTensor({ alpha: true, range: '0..1' }).shape]).toEqual([1, 4, image.height, image.width]);
  });
});

it.each([
  'nearest',
  'linear',
  'cubic',
  'lanczos3',
] as const)('%s resamples as in Pillow', async (kernel: ResampleKernel) => {
  const image = await Image.load(path.join(folder, 'rgb.png'));
  for (const size of ['small', 'wide', 'tall']) {
    const expected = pillow[`${kernel}.${size}`]!;
    const [height, width] = dims(expected, 3);
    expect(difference(await image.resize(width, height, { kernel }), expected), size).toBe(0);
  }
});

it('resamples as PyTorch does with antialiasing', async () => {
  const image = await Image.load(path.join(folder, 'rgb.png'));
  const torch = await readSafetensors(path.join(folder, 'torch.safetensors'));
  for (const [name, expected] of Object.entries(torch)) {
    const [height, width] = dims(expected, 3);
    const kernel = name.split('.')[0] as ResampleKernel;
    expect(difference(await image.resize(width, height, { kernel, rounding: 'torch' }), expected), name).toBe(0);
  }
});
