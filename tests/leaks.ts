/**
 * Runs with every test file: what the file has created on any backend must have been disposed when it ends. `afterAll` here was
 * registered first, so it runs last.
 */
import { afterAll, expect, vi } from 'vitest';
import type { Backend } from '../src/runtime/backend.ts';

const backends = vi.hoisted(() => [] as Backend[]);

vi.mock(import('../src/runtime/create-backend.ts'), async (load) => {
  const module = await load();
  return {
    ...module,
    createBackend: async (options) => {
      const backend = await module.createBackend(options);
      backends.push(backend);
      return backend;
    },
  };
});

afterAll(() => {
  for (const { name, live, closed } of backends) {
    const left = closed ? { ...live, programs: 0 } : live;
    expect(left, `what was left on the backend '${name}'`).toEqual({ tensors: 0, bytes: 0, programs: 0 });
  }
});
