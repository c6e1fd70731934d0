/** Pictures as browsers read, show and write them, beside those of Node. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Image } from '../../src/images/image.ts';
import { readMetadata } from '../../src/images/read-metadata.ts';
import { psnr } from '../../src/metrics/pixel-errors.ts';
import { hasChromium, launch } from './chromium.ts';
import { LibraryPage, root } from './library-page.ts';
import type { StaticServer } from './static-server.ts';

/** Every colour differs from its neighbours'. */
const picture = new Image({
  width: 12,
  height: 7,
  channels: 3,
  data: Uint8Array.from({ length: 3 * 12 * 7 }, (_, i) => (i * i * 31) % 256),
});

describe.skipIf(!hasChromium())('pictures in a page', () => {
  let files: LibraryPage;
  let server: StaticServer;
  let browser: Browser;
  let page: Page;
  beforeAll(async () => {
    files = await LibraryPage.build();
    server = await files.serve();
    browser = await launch();
    page = await files.open(server, browser);
  });
  afterAll(async () => {
    await browser?.close();
    await server?.[Symbol.asyncDispose]();
    files?.[Symbol.dispose]();
  });

  /** What a page reads of a file's bytes. */
  async function read(bytes: Uint8Array): Promise<Image> {
    const pixels = await page.evaluate(
      async (bytes) => {
        const { width, height, channels, data } = await dejaDit.imageFrom(new Blob([new Uint8Array(bytes)]));
        return { width, height, channels, data: [...data] };
      },
      [...bytes],
    );
    return new Image({ ...pixels, data: Uint8Array.from(pixels.data) });
  }

  it.each(['png', 'jpeg', 'webp', 'avif'] as const)('%s is read as in Node', async (format) => {
    const bytes = await picture.encode(format);
    const [actual, expected] = [await read(bytes), await Image.load(bytes)];
    if (format === 'png') expect(actual).toEqual(expected);
    // Decoders may round, and put colours of half the resolution in between, in their own ways.
    else expect(psnr(actual, expected)).toBeGreaterThan(25);
  });

  it.each(['rotated.jpg', 'grey.png', 'palette.png', 'a1111.webp'])('%s is read as in Node', async (name) => {
    const bytes = readFileSync(path.join(root, 'fixtures/images', name));
    const [actual, expected] = [await read(bytes), await Image.load(bytes)];
    expect([actual.width, actual.height]).toEqual([expected.width, expected.height]);
    if (actual.channels === expected.channels) expect(psnr(actual, expected)).toBeGreaterThan(30);
  });

  it('PNG is written without loss, with metadata that Node reads', async () => {
    const metadata = { prompt: '猫 🍎', seed: 7 };
    const { width, height, channels } = picture;
    const options = { width, height, channels, data: [...picture.data], metadata };
    const bytes = await page.evaluate(async ({ metadata, data, ...size }) => {
      const image = new dejaDit.Image({ ...size, data: Uint8Array.from(data) });
      const blob = await dejaDit.toBlob(image, 'png', { metadata });
      if (blob.type !== 'image/png') throw new Error(blob.type);
      return [...new Uint8Array(await blob.arrayBuffer())];
    }, options);
    // Canvases write alpha, also where all is opaque.
    const rgba = await Image.load(Uint8Array.from(bytes));
    expect(rgba.data.filter((_, i) => i % 4 < 3)).toEqual(picture.data);
    expect(await readMetadata(Uint8Array.from(bytes))).toEqual({ ...metadata, width, height });
  });

  it('pixels pass through canvases, bitmaps and image data unchanged', async () => {
    const { width, height, channels } = picture;
    const passed = await page.evaluate(
      async ({ data, ...size }) => {
        const image = new dejaDit.Image({ ...size, data: Uint8Array.from(data) });
        const canvas = new OffscreenCanvas(size.width, size.height);
        canvas.getContext('2d')!.putImageData(dejaDit.toImageData(image), 0, 0);
        const forms = [dejaDit.toImageData(image), await dejaDit.toImageBitmap(image), canvas, image];
        return Promise.all(forms.map(async (form) => [...(await dejaDit.imageFrom(form)).data]));
      },
      { width, height, channels, data: [...picture.data] },
    );
    expect(passed).toEqual(Array(4).fill([...picture.data]));
  });

  it('what is no picture, or cannot be written here, is refused', async () => {
    const refused = await page.evaluate(async () => {
      const image = new dejaDit.Image({ width: 1, height: 1, channels: 3, data: Uint8Array.of(1, 2, 3) });
      const attempts = [
        dejaDit.imageFrom(new Blob(['text'])),
        dejaDit.toBlob(image, 'avif'),
        dejaDit.toBlob(image, 'jpeg', { metadata: { prompt: 'x' } }),
        image.save('x.png'),
      ];
      return (await Promise.allSettled(attempts)).map((result) => String((result as PromiseRejectedResult).reason));
    });
    expect(refused).toEqual([
      expect.stringContaining('is not a PNG, JPEG, WebP, AVIF or GIF image'),
      expect.stringContaining('this browser encodes no avif'),
      expect.stringContaining('a page writes metadata into PNG only'),
      expect.stringContaining('toBlob'),
    ]);
  });
});
