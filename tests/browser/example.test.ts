/** `examples/browser` as it is deployed: what a visitor downloads, and the visit after that without a network. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasChromium, launch, newPage } from './chromium.ts';
import { bundledModel, root } from './library-page.ts';
import { serveFolders } from './static-server.ts';

const example = path.join(root, 'examples/browser');

/** As from a shell: vite builds for production there, and for tests in a test. */
const exec = (args: readonly string[]) =>
  promisify(execFile)(process.execPath, args, { cwd: root, env: { ...process.env, NODE_ENV: undefined } });

describe.skipIf(!hasChromium())('examples/browser', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'deja-dit-example-'));
  let browser: Browser;
  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true });
  });

  it('is at most 300 kB beside ONNX Runtime, and draws again when its server is gone', async () => {
    await exec(['node_modules/vite/bin/vite.js', 'build', example, '--outDir', folder, '--logLevel', 'error']);
    const server = await serveFolders({ '/': folder });
    const page = await newPage(browser);
    await page.goto(`${server.origin}/?steps=2`);
    const first = await drawn(page);

    const loaded = [...new Set(server.requests)].filter((file) => !file.startsWith('/model/'));
    const ours = loaded.filter((file) => !/\/ort(-wasm|\.wasm)/.test(file));
    expect(loaded.length - ours.length, 'the WebAssembly and its script').toBe(2);
    const bytes = ours.reduce((sum, file) => sum + gzipped(path.join(folder, file === '/' ? 'index.html' : file)), 0);
    console.log(`${ours.length} files of ${Math.round(bytes / 1000)} kB gzipped, beside ONNX Runtime and the model`);
    expect(bytes).toBeLessThanOrEqual(300_000);

    await server[Symbol.asyncDispose]();
    await page.reload();
    expect(await drawn(page)).toBe(first);
    await page.context().close();
  });

  it('is one HTML file too, which draws from the disk with a folder that was chosen', async () => {
    const file = path.join(folder, 'deja-dit.html');
    await exec([path.join(example, 'one-file.mjs'), file]);
    const page = await newPage(browser);
    await page.goto(`${pathToFileURL(file)}?steps=2`);
    await page.getByText(/^Failed: .*model/).waitFor();
    await page.setInputFiles('#folder', bundledModel);
    await page.getByText(/^(Loading|Warming|Drawing)/).waitFor();
    await drawn(page);
    await page.context().close();
  });
});

/** The picture on the page, once it is there, as the address of its data. */
async function drawn(page: Page): Promise<string> {
  const status = page.locator('#status');
  await status.and(page.getByText(/^(Done|Failed)/)).waitFor();
  expect(await page.textContent('#status')).toBe('Done');
  return page.evaluate(() => document.querySelector('canvas')!.toDataURL());
}

function gzipped(file: string): number {
  return gzipSync(readFileSync(file)).length;
}
