// Static files: the page, the library, ONNX Runtime and, under model/, the bundled model.
import { cpSync } from 'node:fs';
import path from 'node:path';
import { defineConfig } from 'vite';

const model = path.resolve(import.meta.dirname, '../../models/emoji-flux');

/** Serves the model while developing, and puts it beside the page when building. */
const bundledModel = {
  name: 'bundled-model',
  configureServer: (server) => {
    server.middlewares.use('/model', (request, response, next) => {
      request.url = `/@fs${model}${request.url}`;
      server.middlewares.handle(request, response, next);
    });
  },
  writeBundle: ({ dir }) =>
    cpSync(model, path.join(dir, 'model'), { recursive: true, filter: (file) => !file.includes('reference') }),
};

// With these headers pages may share memory between threads. A web space has to send them too.
const headers = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };

// biome-ignore lint/style/noDefaultExport: vite reads it so
export default defineConfig({
  root: import.meta.dirname,
  base: './',
  server: { headers, fs: { allow: [path.resolve(import.meta.dirname, '../..')] } },
  preview: { headers },
  // Its workers and WebAssembly are found by their places, which bundling it ahead would change.
  optimizeDeps: { exclude: ['deja-dit', 'onnxruntime-web'] },
  worker: { format: 'es' },
  build: { target: 'es2022' },
  plugins: [bundledModel],
});
