/** The studio in a real page, on a real server behind a key, drawing with the bundled model. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { RunOptions } from 'axe-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Image } from '../../src/images/image.ts';
import { psnr } from '../../src/metrics/pixel-errors.ts';
import type { GenerateReport, JobState } from '../../src/serve/jobs/job.ts';
import { type Listening, listen } from '../../src/serve/listen.ts';
import { createServer, type Server } from '../../src/serve/server.ts';
import { hasChromium, launch } from './chromium.ts';

declare const axe: { run(options: RunOptions): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };

interface Job {
  id: string;
  state: JobState;
  options: Record<string, unknown>;
  files: { url: string }[];
  report: GenerateReport;
}

const key = 'a key';
const steps = 8;

describe.skipIf(!hasChromium())('the studio', () => {
  let browser: Browser;
  let server: Server;
  let listening: Listening;
  /** Everything that pages asked for. */
  const asked: string[] = [];
  /** What pages complained of: errors, and what the content security policy stopped. */
  const complaints: string[] = [];

  const start = async (port = 0): Promise<void> => {
    server = createServer({ apiKey: key, maxPixels: 256 * 256 });
    listening = await listen(server, { port });
  };
  const stop = async (): Promise<void> => {
    await listening.close();
    await server.close();
  };
  beforeAll(async () => {
    await start();
    [browser] = await Promise.all([launch(), server.ready]);
  });
  afterAll(async () => {
    await browser?.close();
    await stop();
  });

  /** A page that has the key, and draws small pictures in few steps. */
  async function open(
    options: BrowserContextOptions = {},
    { form = {}, previews = 4 }: { form?: object; previews?: number } = {},
  ): Promise<Page> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    const values = { width: 64, height: 64, numInferenceSteps: steps, ...form };
    await context.addInitScript(
      ({ key, values, previews }) => {
        sessionStorage.setItem('deja-dit-key', key);
        localStorage.setItem('deja-dit-previews', previews);
        localStorage.setItem('deja-dit-values', localStorage.getItem('deja-dit-values') ?? values);
      },
      { key, values: JSON.stringify(values), previews: String(previews) },
    );
    const page = await watched(await context.newPage());
    await page.goto(listening.address);
    await page.getByText('Ready').waitFor();
    return page;
  }
  function watched(page: Page): Page {
    page.on('request', (request) => asked.push(request.url()));
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      // A refusal by the server is written down by the browser, and is what some of these are about.
      if (message.type() === 'error' && !message.text().includes('Failed to load')) complaints.push(message.text());
    });
    return page;
  }
  const api = (path: string, method = 'GET') =>
    fetch(listening.address + path, { method, headers: { authorization: `Bearer ${key}` } });
  const jobOf = async (page: Page, part = 2): Promise<Job> => {
    const id = new URL(page.url()).hash.split('/')[part]!;
    return (await api(`/v1/jobs/${id}`)).json() as Promise<Job>;
  };
  const draw = (page: Page) => page.getByRole('button', { name: 'Draw' }).click();
  const drawn = (page: Page) => page.locator('.frame.done img').waitFor();
  const timeline = (page: Page) => page.locator('.timeline').first();

  it('asks for a key, says that one is wrong, and keeps the right one in its tab, out of addresses', async () => {
    const page = watched(await browser.newPage());
    await page.goto(listening.address);
    for (const [given, then] of [
      ['another', 'does not fit'],
      [key, 'Ready'],
    ] as const) {
      await page.getByLabel('API key', { exact: true }).fill(given);
      await page.keyboard.press('Enter');
      await page.getByText(then).waitFor();
    }
    await page.reload();
    await page.getByText('Ready').waitFor();
    expect(await page.evaluate(() => Object.values(localStorage).join())).not.toContain(key);
    expect(asked.filter((url) => url.includes(encodeURIComponent(key)) || url.includes(key))).toEqual([]);
    await page.close();
  });

  it('draws: previews come, every step is told with its reason, and the figures are those of the job', async () => {
    // One after every step: there is one to see for nearly as long as it draws.
    const page = await open({}, { previews: 1000 });
    await page.getByLabel('Prompt', { exact: true }).fill('red apple');
    await page.keyboard.press('Control+Enter');
    await page.locator('.frame.preview img').waitFor();
    await drawn(page);
    const job = await jobOf(page);
    expect(job.options).toMatchObject({ prompt: 'red apple', width: 64, height: 64, numInferenceSteps: steps });
    const chart = page.getByRole('slider', { name: 'Steps: steps' });
    expect(await timeline(page).getAttribute('data-steps')).toBe(String(steps));
    expect(await page.locator('.step.reuse').count()).toBe(job.report.reusedSteps);
    expect(job.report.reusedSteps).toBeGreaterThan(0);

    const reasons = job.report.summary[0]!.calls.filter(({ branch }) => branch === 'cond').map(({ reason }) => reason);
    await chart.focus();
    for (const reason of reasons) {
      expect(await page.locator('.tip').innerText()).toContain(reason);
      await page.keyboard.press('ArrowRight');
    }
    const figures = await page.locator('.figures').innerText();
    expect(figures).toContain(`${steps - job.report.reusedSteps} of ${steps}`);
    expect(figures).toContain((1 / job.report.summary[0]!.flopsShare!).toFixed(2));
    expect(figures).toContain(String(job.report.seed));
    await page.context().close();
  });

  it('compares: the PSNR is that of the two files, the timelines are those of the two jobs', async () => {
    const page = await open();
    await page.getByRole('button', { name: 'A/B' }).click();
    const figure = page.locator('[data-figure="PSNR"][data-value]');
    await figure.waitFor();
    const jobs = [await jobOf(page, 2), await jobOf(page, 3)];
    const [cached, exact] = await Promise.all(
      jobs.map(async ({ files }) => Image.load(new Uint8Array(await (await api(files[0]!.url)).arrayBuffer()))),
    );
    expect(jobs.map(({ report }) => report.seed)).toEqual([jobs[0]!.report.seed, jobs[0]!.report.seed]);
    expect(jobs[1]!.options['cache']).toBe(false);
    const expected = psnr(exact!, cached!);
    expect(expected).toBeLessThan(80);
    expect(Number(await figure.getAttribute('data-value'))).toBeCloseTo(expected, 9);
    expect(await page.locator('.timeline').nth(1).locator('.step.compute').count()).toBe(steps);

    await page.getByRole('radio', { name: 'Difference' }).check();
    const brightest = await page.locator('canvas').evaluate((canvas) => {
      const { width, height } = canvas as HTMLCanvasElement;
      const { data } = (canvas as HTMLCanvasElement).getContext('2d')!.getImageData(0, 0, width, height);
      return data.reduce((most, level, i) => (i % 4 === 3 ? most : Math.max(most, level)), 0);
    });
    const largest = exact!.data.reduce((most, level, i) => Math.max(most, Math.abs(level - cached!.data[i]!)), 0);
    expect(brightest).toBe(Math.min(255, 16 * largest));
    await page.context().close();
  });

  it('cancels what it shows', async () => {
    const page = await open({}, { form: { numInferenceSteps: 200 } });
    await draw(page);
    await page.getByText(/Step \d+ of 200/).waitFor();
    await page.keyboard.press('Escape');
    await page.getByText(/Cancelled after \d+ steps/).waitFor();
    expect((await jobOf(page)).state).toBe('cancelled');
    await page.context().close();
  });

  it('says what is wrong beside the field, whether the page knows it or the server does', async () => {
    const page = await open({}, { form: { width: 100 } });
    const error = (field: string) => page.locator(`[data-field="${field}"] .error`);
    await draw(page);
    expect(await error('width').innerText()).toBe('must be a multiple of 16');
    await page.getByLabel('Width', { exact: true }).fill('1024');
    await page.getByLabel('Height', { exact: true }).fill('1024');
    await draw(page);
    expect(await error('width').innerText()).toBe('pictures are limited to 65536 pixels on this server');
    await page.getByLabel('Width', { exact: true }).fill('64');
    await page.getByLabel('Height', { exact: true }).fill('64');
    await page.getByRole('radio', { name: 'JSON' }).check();
    await page.getByLabel('Settings as JSON').fill('{ "errorBudge": 0.1 }');
    await draw(page);
    expect(await error('cache').innerText()).toMatch(/^unknown key "errorBudge"; did you mean errorBudget\?/);
    await page.context().close();
  });

  it('starts from a picture; the gallery has its job, takes its settings back into the form, and forgets it', async () => {
    const page = await open();
    const gray = new Image({ width: 8, height: 8, channels: 3, data: new Uint8Array(192).fill(128) });
    const buffer = Buffer.from(await gray.encode('png'));
    await page.locator('input[type=file]').setInputFiles({ name: 'gray.png', mimeType: 'image/png', buffer });
    await page.getByLabel('Strength', { exact: true }).fill('0.5');
    await draw(page);
    await drawn(page);
    const job = await jobOf(page);
    expect(job.options).toMatchObject({ image: { size: buffer.length }, strength: 0.5 });

    const { data } = (await (await api('/v1/jobs')).json()) as { data: Job[] };
    const cards = page.locator('.gallery .card');
    await expect.poll(() => cards.count()).toBe(data.length);
    await page.getByLabel('Prompt', { exact: true }).fill('something else');
    await page.getByRole('button', { name: 'Use these settings' }).click();
    expect(await page.getByLabel('Prompt', { exact: true }).inputValue()).toBe(job.options['prompt']);
    expect(await page.getByLabel('Seed', { exact: true }).inputValue()).toBe(String(job.report.seed));
    const download = page.waitForEvent('download');
    await page.getByRole('link', { name: 'Download' }).click();
    expect(readFileSync(await (await download).path())).toEqual(
      Buffer.from(await (await api(job.files[0]!.url)).arrayBuffer()),
    );
    await page.getByRole('button', { name: 'Delete' }).click();
    await page.getByText('Nothing drawn yet').waitFor();
    expect(await cards.count()).toBe(data.length - 1);
    expect((await api(`/v1/jobs/${job.id}`)).status).toBe(404);
    await page.context().close();
  });

  it('goes on after a reload where it was, and says that the server was restarted', async () => {
    const page = await open({}, { form: { numInferenceSteps: 60 } });
    await draw(page);
    await page.getByText(/Step \d+ of 60/).waitFor();
    await page.reload();
    await drawn(page);
    expect(await timeline(page).getAttribute('data-steps')).toBe('60');

    const { port } = new URL(listening.address);
    await stop();
    await page.getByText('No connection').waitFor();
    // It tells its age in seconds.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await start(Number(port));
    await page.getByText('The server was restarted').waitFor();
    await page.context().close();
  });

  it.each([
    ['light', { width: 1440, height: 900 }],
    ['dark', { width: 390, height: 844 }],
  ] as const)('is for everybody, %s, %j: nothing that axe finds, nothing beside the page', async (colorScheme, viewport) => {
    const page = await open({ colorScheme, viewport });
    const source = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
    const check = async () => {
      await page.evaluate(source);
      const { violations } = await page.evaluate(() => axe.run({ resultTypes: ['violations'] }));
      expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(viewport.width);
    };
    await page.getByText('All settings').click();
    await check();
    await page.getByRole('button', { name: 'A/B' }).click();
    await page.locator('[data-figure="PSNR"][data-value]').waitFor();
    await check();
    await page
      .getByRole('button', { name: /^red apple/ })
      .first()
      .click();
    await drawn(page);
    await check();
    await page.context().close();
  });

  it('has asked nothing of any other server, and broke none of its own rules', () => {
    const elsewhere = asked.filter((url) => !/^(blob|data):/.test(url) && new URL(url).origin !== listening.address);
    expect(asked.length).toBeGreaterThan(50);
    expect(elsewhere).toEqual([]);
    expect(complaints).toEqual([]);
  });
});
