/** The system's Chromium, driven over its debugging protocol. */
import { existsSync } from 'node:fs';
import { type Browser, chromium, type Page } from 'playwright-core';

export const executable = process.env['CHROMIUM'] ?? '/usr/bin/chromium';

/** Whether the tests of pages can run; says loudly that they do not. */
export function hasChromium(): boolean {
  if (existsSync(executable)) return true;
  console.warn(`NOT CHECKED: ${executable} is missing (Debian: chromium): no test opens a page`);
  return false;
}

/** Whether to test on a GPU, and Chromium gives pages one; says loudly if it does not. */
export async function hasPageGpu(): Promise<boolean> {
  if (!hasChromium()) return false;
  if (process.env['DEJA_DIT_TEST_BACKEND'] !== 'webgpu') {
    // Chromium's GPU in software always is there, and takes a minute.
    console.warn('NOT CHECKED: nothing was run on WebGPU in a page: DEJA_DIT_TEST_BACKEND=webgpu is not set');
    return false;
  }
  const browser = await launch({ gpu: true });
  try {
    const page = await browser.newPage();
    // Of pages without an origin only those of the browser have a GPU.
    await page.route('**', (route) => route.fulfill({ contentType: 'text/html', body: '' }));
    await page.goto('http://localhost/');
    const found = await page.evaluate(async () => Boolean(await navigator.gpu?.requestAdapter()));
    if (!found) console.warn('NOT CHECKED: this Chromium gives pages no GPU: nothing was run on WebGPU in a page');
    return found;
  } finally {
    await browser.close();
  }
}

/** @param gpu WebGPU: on the machine's GPU, else on one in software, which Chromium brings along */
export function launch({ gpu = false }: { gpu?: boolean } = {}): Promise<Browser> {
  return chromium.launch({
    executablePath: executable,
    args: ['--no-sandbox', '--disable-dev-shm-usage', ...(gpu ? ['--enable-unsafe-webgpu'] : [])],
  });
}

/** In a context of its own, with nothing stored; closing that closes it. Waits for what it waits for as long as the test may take. */
export async function newPage(browser: Browser): Promise<Page> {
  const context = await browser.newContext();
  context.setDefaultTimeout(0);
  return context.newPage();
}
