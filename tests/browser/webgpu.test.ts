/** The library on the GPU of a real page, beside the processor in Node. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DiffusionPipeline } from '../../src/pipelines/diffusion-pipeline.ts';
import { createBackend } from '../../src/runtime/create-backend.ts';
import { hasPageGpu, launch } from './chromium.ts';
import { bundledModel, LibraryPage } from './library-page.ts';
import { smallGraph } from './small-graph.ts';
import type { StaticServer } from './static-server.ts';

/** Without the autoencoder, for which a GPU in software takes longest. */
const step = {
  prompt: 'red apple, flat style',
  seed: 7,
  numInferenceSteps: 1,
  width: 64,
  height: 64,
  outputType: 'latent',
} as const;

describe.runIf(await hasPageGpu())('WebGPU in a page', () => {
  let files: LibraryPage;
  let server: StaticServer;
  let browser: Browser;
  let page: Page;
  beforeAll(async () => {
    files = await LibraryPage.build({ 'small-graph': 'tests/browser/small-graph.ts' });
    server = await files.serve();
    browser = await launch({ gpu: true });
    page = await files.open(server, browser);
  });
  afterAll(async () => {
    await browser?.close();
    await server?.[Symbol.asyncDispose]();
    files?.[Symbol.dispose]();
  });

  it('computes a small graph as the processor does, and keeps nothing', async () => {
    await using cpu = await createBackend({ backend: 'cpu' });
    const expected = await smallGraph(cpu);
    await page.addScriptTag({
      type: 'module',
      content: `import { smallGraph } from './small-graph.js'; Object.assign(globalThis, { smallGraph });`,
    });
    await page.waitForFunction(() => 'smallGraph' in globalThis);
    const { actual, live } = await page.evaluate(async () => {
      const { smallGraph: compute } = globalThis as unknown as { smallGraph: typeof smallGraph };
      const gpu = await dejaDit.createBackend({ backend: 'webgpu' });
      try {
        return { actual: await compute(gpu), live: { ...gpu.live } };
      } finally {
        await gpu.dispose();
      }
    });
    expect(live).toEqual({ tensors: 0, bytes: 0, programs: 0 });
    expectClose(actual, expected, 1e-5);
  }, 200_000);

  it('takes one step of the bundled model as the processor does, in a worker', async () => {
    await using pipe = await DiffusionPipeline.fromPretrained(bundledModel, { backend: 'cpu' });
    const expected = (await pipe.generate(step)).latents.f32;
    const { backend, actual } = await page.evaluate(async (step) => {
      const options = { backend: 'webgpu', computeDtype: 'float32', worker: true } as const;
      const pipe = await dejaDit.DiffusionPipeline.fromPretrained('./model', options);
      try {
        return { backend: pipe.programs.backend.name, actual: [...(await pipe.generate(step)).latents.f32] };
      } finally {
        await pipe.dispose();
      }
    }, step);
    expect(backend).toBe('webgpu (worker thread)');
    expectClose(actual, [...expected], 1e-4);
  }, 380_000);
});

function expectClose(actual: readonly number[], expected: readonly number[], bound: number): void {
  expect(actual).toHaveLength(expected.length);
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const error = expected.reduce((most, value, i) => Math.max(most, Math.abs(actual[i]! - value)), 0);
  expect(error / scale).toBeLessThan(bound);
}
