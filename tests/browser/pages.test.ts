/** The library in a real page, drawing with the bundled model. */
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Image } from '../../src/images/image.ts';
import { psnr } from '../../src/metrics/pixel-errors.ts';
import { DiffusionPipeline } from '../../src/pipelines/diffusion-pipeline.ts';
import { hasChromium, launch } from './chromium.ts';
import { bundledModel, draw, LibraryPage } from './library-page.ts';

const request = { prompt: 'red apple, flat style', seed: 7, numInferenceSteps: 4 };

describe.skipIf(!hasChromium())('in a page', () => {
  let files: LibraryPage;
  let browser: Browser;
  let expected: number[];
  beforeAll(async () => {
    files = await LibraryPage.build();
    browser = await launch();
    await using pipe = await DiffusionPipeline.fromPretrained(bundledModel, { backend: 'wasm' });
    expected = [...(await pipe.generate(request)).images![0]!.data];
  });
  afterAll(async () => {
    await browser?.close();
    files?.[Symbol.dispose]();
  });

  it('one thread draws the picture of wasm in Node; the second visit asks the server for nothing of the model', async () => {
    await using server = await files.serve();
    const page = await files.open(server, browser);
    expect(await draw(page, request, { backend: 'wasm' })).toEqual(expected);
    server.requests.length = 0;
    await page.reload();
    await page.waitForFunction(() => 'dejaDit' in globalThis);
    const kept = await page.evaluate(() => dejaDit.keptModels());
    expect(kept).toEqual([{ name: `${server.origin}/model`, bytes: expect.any(Number) }]);
    expect(kept[0]!.bytes).toBeGreaterThan(40e6);
    expect(await draw(page, request, { backend: 'wasm' })).toEqual(expected);
    expect(server.requests.filter((asked) => asked.startsWith('/model/'))).toEqual([]);
    await page.context().close();
  });

  it('threads that share memory, in a worker: the page stays responsive', async () => {
    await using server = await files.serve({ isolated: true });
    const page = await files.open(server, browser);
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
    const longest = page.evaluate(async () => {
      let [before, longest] = [performance.now(), 0];
      while (!('drawn' in globalThis)) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        const now = performance.now();
        longest = Math.max(longest, now - before);
        before = now;
      }
      return longest;
    });
    const drawn = await draw(page, request, { backend: 'wasm', threads: 2, worker: true });
    await page.evaluate(() => Object.assign(globalThis, { drawn: true }));
    expect(psnr(imageOf(drawn), imageOf(expected))).toBeGreaterThan(60);
    console.log(`the page waited ${Math.round(await longest)} ms at most`);
  });

  const imageOf = (data: number[]) => new Image({ width: 128, height: 128, channels: 3, data: Uint8Array.from(data) });
});
