import { defineConfig } from 'vitest/config';

export default defineConfig({
  // From the sources; package.json's `imports` are for what is built.
  resolve: { alias: [{ find: /^#(.*)$/, replacement: `${import.meta.dirname}/src/$1.ts` }] },
  test: {
    // What was built is what users get: as Node loads it.
    server: { deps: { external: [/\/dist\//] } },
    include: ['src/**/*.test.ts', 'tests/**/*.test.ts'],
    setupFiles: ['tests/leaks.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Every worker loads ONNX Runtime with its own thread pool; more of them than cores only gets in the way.
    pool: 'forks',
    maxWorkers: 2,
  },
});
