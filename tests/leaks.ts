/**
 * Runs with every test file: what the file has created on any backend must have been disposed when it ends. `afterAll` here was
 * registered first, so it runs last.
 *
 * `DEJA_DIT_TEST_BACKEND=webgpu` makes that the default, for tests that name no backend. They expect float32.
 */
import { afterAll, expect, vi } from 'vitest';
import type { Backend } from '../src/runtime/backend.ts';
import type { BackendName } from '../src/runtime/create-backend.ts';

const chosen = process.env['DEJA_DIT_TEST_BACKEND'];
const backends = vi.hoisted(() => [] as Backend[]);

vi.mock(import('../src/runtime/create-backend.ts'), async (load) => {
  const module = await load();
  return {
    ...module,
    createBackend: async (options) => {
      const isDefault = chosen && !options?.backend;
      const backend = await module.createBackend(isDefault ? { ...options, backend: chosen as BackendName } : options);
      backends.push(backend);
      return isDefault ? new (await import('./float32-backend.ts')).Float32Backend(backend) : backend;
    },
  };
});

afterAll(() => {
  for (const { name, live, closed } of backends) {
    const left = closed ? { ...live, programs: 0 } : live;
    expect(left, `what was left on the backend '${name}'`).toEqual({ tensors: 0, bytes: 0, programs: 0 });
  }
});
