/** A page that imports the installed package, as each bundler builds it without settings of ours beyond those of docs/browser.md. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as esbuild from 'esbuild';
import type { Browser } from 'playwright-core';
import * as vite from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import webpack from 'webpack';
import { DiffusionPipeline } from '../../src/pipelines/diffusion-pipeline.ts';
import { hasChromium, launch, newPage } from './chromium.ts';
import { bundledModel, ortFolder, root } from './library-page.ts';
import { serveFolders } from './static-server.ts';

const request = { prompt: 'red apple', seed: 7, numInferenceSteps: 2, width: 64, height: 64 };

const app = `
  import { DiffusionPipeline } from 'deja-dit/web';
  const pipe = await DiffusionPipeline.fromPretrained('./model', { worker: true });
  const { images } = await pipe.generate(${JSON.stringify(request)});
  globalThis.drawn = Array.from(images[0].data);
`;
const html = '<!doctype html><title>deja-dit</title><script type="module" src="./app.js"></script>';

/** Each builds the page of a project into its folder `site`. */
const bundlers: Readonly<Record<string, (project: string, site: string) => Promise<void>>> = {
  async vite(project, site) {
    await vite.build({ root: project, configFile: false, logLevel: 'error', base: './', build: { outDir: site } });
  },
  async webpack(project, site) {
    const compiler = webpack({
      mode: 'production',
      context: project,
      entry: { app: './app.js' },
      output: { path: site },
      // It warns of large files, which ONNX Runtime's are.
      performance: false,
    })!;
    const stats = await new Promise<webpack.Stats>((resolve, reject) =>
      compiler.run((error, stats) => (stats ? resolve(stats) : reject(error))),
    );
    await new Promise((resolve) => compiler.close(resolve));
    expect(stats.toJson({ all: false, errors: true, warnings: true })).toMatchObject({ errors: [], warnings: [] });
    copyFileSync(path.join(project, 'index.html'), path.join(site, 'index.html'));
  },
  async esbuild(project, site) {
    const { warnings } = await esbuild.build({
      absWorkingDir: project,
      entryPoints: { app: './app.js', 'worker-main.web': 'deja-dit/web/worker' },
      bundle: true,
      splitting: true,
      format: 'esm',
      minify: true,
      outdir: site,
    });
    expect(warnings).toEqual([]);
    copyFileSync(path.join(project, 'index.html'), path.join(site, 'index.html'));
    const wasm = 'ort-wasm-simd-threaded.wasm';
    copyFileSync(path.join(ortFolder, wasm), path.join(site, wasm));
  },
};

describe.skipIf(!hasChromium())('a page that imports the package', () => {
  const project = mkdtempSync(path.join(tmpdir(), 'deja-dit-bundlers-'));
  let browser: Browser;
  let expected: number[];
  beforeAll(async () => {
    install(project);
    writeFileSync(path.join(project, 'app.js'), app);
    writeFileSync(path.join(project, 'index.html'), html);
    browser = await launch();
    await using pipe = await DiffusionPipeline.fromPretrained(bundledModel, { backend: 'wasm' });
    expected = [...(await pipe.generate(request)).images[0]!.data];
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(project, { recursive: true });
  });

  it.each(Object.entries(bundlers))(
    'draws, built by %s',
    async (name, build) => {
      const site = path.join(project, `site-${name}`);
      await build(project, site);
      await using server = await serveFolders({ '/model/': bundledModel, '/': site });
      const page = await newPage(browser);
      const failure = new Promise<never>((_, reject) => page.on('pageerror', reject));
      await page.goto(`${server.origin}/`);
      await Promise.race([page.waitForFunction(() => 'drawn' in globalThis), failure]);
      expect(await page.evaluate(() => (globalThis as unknown as { drawn: number[] }).drawn)).toEqual(expected);
      await page.context().close();
      // Bundling on a busy machine takes its time.
    },
    400_000,
  );
});

/** The packed package where there is one (`.ci/run`), else what it would hold, beside the packages that are here. */
function install(project: string): void {
  const modules = path.join(project, 'node_modules');
  const own = path.join(modules, 'deja-dit');
  mkdirSync(own, { recursive: true });
  const tarball = process.env['DEJA_DIT_TARBALL'];
  if (tarball) execFileSync('tar', ['-xzf', tarball, '-C', own, '--strip-components=1']);
  else
    for (const part of ['package.json', 'dist'])
      cpSync(path.join(root, part), path.join(own, part), { recursive: true });
  for (const name of readdirSync(path.join(root, 'node_modules')))
    if (!name.startsWith('.')) symlinkSync(path.join(root, 'node_modules', name), path.join(modules, name));
}
