/** The package bundled for a browser: importing it must not need Node, whatever a page then asks of it. */
import path from 'node:path';
import vm from 'node:vm';
import { build } from 'esbuild';
import { expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');

/** What a page has and the language itself has not. */
const page = {
  AbortController,
  AbortSignal,
  Headers,
  ReadableStream,
  Response,
  TextDecoder,
  TextEncoder,
  TransformStream,
  URL,
  atob,
  clearTimeout,
  console,
  fetch,
  performance,
  setTimeout,
};

it('is imported in a page without Node, and computes on the host', async () => {
  const contents = `
    import { Generator, supportedPipelines, Tensor } from '${path.join(root, 'dist/index.js')}';
    import { linear } from '${path.join(root, 'dist/models.js')}';
    globalThis.result = { pipelines: supportedPipelines(), shape: new Tensor('float32', new Float32Array(6), [2, 3]).shape,
      noise: new Generator(7).randn([4]).shape, layer: typeof linear };
  `;
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root },
    bundle: true,
    format: 'iife',
    platform: 'browser',
    logLevel: 'error',
    logOverride: { 'import-is-undefined': 'silent', 'empty-import-meta': 'silent' },
    write: false,
  });
  const context = vm.createContext({ ...page, result: undefined });
  vm.runInContext(`globalThis.self = globalThis; ${outputFiles[0]!.text}`, context);
  expect(context.result).toMatchObject({ shape: [2, 3], noise: [4], layer: 'function' });
  expect(context.result.pipelines).toContain('FluxPipeline');
});
