// The page that the server serves at `/`: `src/serve/studio/` says how. Paths are relative, so that it works below any prefix.
import path from 'node:path';
import { defineConfig } from 'vite';

// biome-ignore lint/style/noDefaultExport: vite reads it so
export default defineConfig({
  root: import.meta.dirname,
  base: './',
  // While developing: a server that runs beside it.
  server: { proxy: { '/v1': 'http://127.0.0.1:8000', '/health': 'http://127.0.0.1:8000' } },
  build: {
    target: 'es2022',
    outDir: path.resolve(import.meta.dirname, '../dist/studio'),
    assetsDir: 'studio',
    emptyOutDir: true,
    // An inlined file would be another kind of source to the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  logLevel: 'warn',
});
