/** The library in a real page, drawing with the bundled model. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Image } from '../../src/images/image.ts';
import { psnr } from '../../src/metrics/pixel-errors.ts';
import { DiffusionPipeline } from '../../src/pipelines/diffusion-pipeline.ts';
import type * as Library from '../../src/web.ts';
import { hasChromium, launch } from './chromium.ts';
import { type StaticServer, serveFolders } from './static-server.ts';

const request = { prompt: 'red apple, flat style', seed: 7, numInferenceSteps: 4 };

describe.skipIf(!hasChromium())('in a page', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'deja-dit-page-'));
  let browser: Browser;
  let expected: number[];
  const serve = (options?: { isolated: boolean }): Promise<StaticServer> =>
    serveFolders({ '/model/': model, '/ort/': ort, '/': folder }, options);

  beforeAll(async () => {
    await build({
      entryPoints: { library: 'deja-dit/web', 'worker-main.web': 'deja-dit/web/worker' },
      absWorkingDir: root,
      outdir: folder,
      bundle: true,
      splitting: true,
      format: 'esm',
      minify: true,
      logLevel: 'error',
      // Who uses the package has no tsconfig of ours.
      tsconfigRaw: '{}',
    });
    writeFileSync(path.join(folder, 'index.html'), html);
    browser = await launch();
    await using pipe = await DiffusionPipeline.fromPretrained(model, { backend: 'wasm' });
    expected = [...(await pipe.generate(request)).images![0]!.data];
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true });
  });

  async function open(server: StaticServer, within: Pick<Browser, 'newContext'> = browser): Promise<Page> {
    const page = await (await within.newContext()).newPage();
    await page.goto(`${server.origin}/index.html`);
    await page.waitForFunction(() => 'dejaDit' in globalThis);
    return page;
  }

  const draw = (page: Page, options: Record<string, unknown>) =>
    page.evaluate(
      async ({ request, options }) => {
        const pipe = await dejaDit.DiffusionPipeline.fromPretrained('./model', options);
        try {
          const { images } = await pipe.generate(request);
          return [...images![0]!.data];
        } finally {
          await pipe.dispose();
        }
      },
      { request, options },
    );

  it('one thread draws the picture of wasm in Node; the second visit asks the server for nothing of the model', async () => {
    const server = await serve();
    const page = await open(server);
    expect(await draw(page, { backend: 'wasm' })).toEqual(expected);
    server.requests.length = 0;
    await page.reload();
    await page.waitForFunction(() => 'dejaDit' in globalThis);
    expect(await page.evaluate(async () => (await dejaDit.keptModels()).map(({ bytes }) => bytes > 40e6))).toEqual([
      true,
    ]);
    await page.context().setOffline(true);
    // ONNX Runtime's own file comes from the browser's cache of requests, or from a service worker: here from the page before.
    await page.context().setOffline(false);
    expect(await draw(page, { backend: 'wasm' })).toEqual(expected);
    expect(server.requests.filter((asked) => asked.startsWith('/model/'))).toEqual([]);
    await server[Symbol.asyncDispose]();
    await page.close();
  });

  it('threads that share memory, in a worker: the page stays responsive', async () => {
    await using server = await serve({ isolated: true });
    const page = await open(server);
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
    const drawn = await draw(page, { backend: 'wasm', threads: 2, worker: true });
    await page.evaluate(() => Object.assign(globalThis, { drawn: true }));
    expect(psnr(imageOf(drawn), imageOf(expected))).toBeGreaterThan(60);
    console.log(`the page waited ${Math.round(await longest)} ms at most`);
  });

  const imageOf = (data: number[]) => new Image({ width: 128, height: 128, channels: 3, data: Uint8Array.from(data) });
});
