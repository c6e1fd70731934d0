/** Backends by name. Each is imported when asked for, so that nobody pays for loading what they do not use. */
import { DejaDitError, nearestName } from '../errors/errors.ts';
import type { Backend, BackendOptions } from './backend.ts';

export const backendNames = ['cpu', 'wasm'] as const;
export type BackendName = (typeof backendNames)[number];

export interface CreateBackendOptions extends BackendOptions {
  /** `cpu`: native ONNX Runtime. `wasm`: WebAssembly, runs anywhere, slower. Default `cpu`. */
  backend?: BackendName;
  /** Compute in a thread of its own, so that the calling thread stays responsive. Default false. */
  worker?: boolean;
}

/** @throws DejaDitError UNSUPPORTED where this machine cannot run it */
export async function createBackend(options: CreateBackendOptions = {}): Promise<Backend> {
  if (options.worker)
    return new (await import('./worker/worker-backend.ts')).WorkerBackend({ ...options, worker: false });
  const { backend = 'cpu' } = options;
  switch (backend) {
    case 'cpu':
      return (await import('./ort-node/ort-node.ts')).createCpuBackend(options);
    case 'wasm':
      return (await import('./ort-web/ort-web.ts')).createWasmBackend(options);
    default: {
      const unknown: string = backend satisfies never;
      const nearest = nearestName(unknown, backendNames) ?? backendNames.join(', ');
      throw new DejaDitError('INVALID_ARGUMENT', `unknown backend '${unknown}', did you mean ${nearest}?`, {
        path: 'backend',
      });
    }
  }
}
