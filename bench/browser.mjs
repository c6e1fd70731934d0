// The bundled model on WebAssembly in Chromium, in turns with Node where that has as many threads, cached and not: node bench/browser.mjs [rounds]
// Needs what is built (npm run build), and Chromium at /usr/bin/chromium or $CHROMIUM.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { bundledModel, DiffusionPipeline } from 'deja-dit';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';

const rounds = Number(process.argv[2] ?? 5);
const request = { prompt: 'red apple, flat style', seed: 7, numInferenceSteps: 20 };
const root = path.resolve(import.meta.dirname, '..');

const folder = mkdtempSync(path.join(os.tmpdir(), 'deja-dit-bench-'));
const server = await serve(folder);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-dev-shm-usage'],
});
try {
  await build({
    entryPoints: { library: 'deja-dit/web' },
    absWorkingDir: root,
    outdir: folder,
    bundle: true,
    // ONNX Runtime's threads run the script that it is in, which must be its own.
    splitting: true,
    format: 'esm',
    minify: true,
    tsconfigRaw: '{}',
    logLevel: 'error',
  });
  const script = "import * as dejaDit from './library.js'; Object.assign(globalThis, { dejaDit });";
  writeFileSync(path.join(folder, 'index.html'), `<script type="module">${script}</script>`);
  console.log(
    `${os.cpus()[0].model}, ${os.cpus().length} cores, Node ${process.versions.node}, Chromium ${browser.version()}`,
  );
  for (const threads of [1, 2]) await compare(threads);
} finally {
  await browser.close();
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
}

async function compare(threads) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/index.html`);
  await page.waitForFunction(() => 'dejaDit' in globalThis);
  await page.evaluate(async (threads) => {
    dejaDit.setAssets({ wasm: './ort/' });
    globalThis.pipe = await dejaDit.DiffusionPipeline.fromPretrained('./model', { backend: 'wasm', threads });
  }, threads);
  // ONNX Runtime's build for pages has one thread in Node.
  const pipe = threads === 1 && (await DiffusionPipeline.fromPretrained(bundledModel(), { backend: 'wasm' }));

  const places = {
    ...(pipe && { Node: async (cache) => (await pipe.generate({ ...request, cache })).timings.denoise }),
    Chromium: (cache) =>
      page.evaluate(async (options) => (await pipe.generate(options)).timings.denoise, { ...request, cache }),
  };
  const times = Object.fromEntries(
    Object.keys(places).flatMap((at) => [at, `${at}, cached`].map((name) => [name, []])),
  );
  for (let round = 0; round <= rounds; round++)
    for (const [place, draw] of Object.entries(places))
      for (const cache of [false, {}]) {
        const time = await draw(cache);
        // The first round compiles.
        if (round > 0) times[`${place}${cache ? ', cached' : ''}`].push(time);
      }
  if (pipe) await pipe.dispose();
  await context.close();

  console.log(
    `\n${threads} thread(s): milliseconds of ${request.numInferenceSteps} steps, median (least) of ${rounds}`,
  );
  for (const [name, values] of Object.entries(times))
    console.log(`  ${name.padEnd(18)} ${Math.round(median(values))} (${Math.round(Math.min(...values))})`);
  const ratio = (a, b) => median(times[a].map((value, i) => value / times[b][i])).toFixed(2);
  for (const place of Object.keys(places))
    console.log(`  every step / cached, ${place}: ${ratio(place, `${place}, cached`)}`);
  if (pipe)
    console.log(`  Chromium / Node: ${ratio('Chromium', 'Node')}, cached ${ratio('Chromium, cached', 'Node, cached')}`);
  else console.log('  Node: not measured, ONNX Runtime gives it one thread of WebAssembly');
}

function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** With the headers that let a page's threads share memory. */
async function serve(folder) {
  const types = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };
  const places = {
    '/model/': bundledModel(),
    '/ort/': path.join(root, 'node_modules/onnxruntime-web/dist'),
    '/': folder,
  };
  const server = createServer((request, response) => {
    const place = new URL(request.url, 'http://host').pathname;
    const [under, at] = Object.entries(places).find(([under]) => place.startsWith(under));
    response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    try {
      const bytes = readFileSync(path.join(at, place.slice(under.length)));
      response.setHeader('Content-Type', types[path.extname(place)] ?? 'application/octet-stream').end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}
