/** Backends by name. Each is imported when asked for, so that nobody pays for loading what they do not use. */
import { DejaDitError, nearestName } from '../errors/errors.ts';
import { warn } from '../errors/warnings.ts';
import { type Backend, type BackendOptions, int8Products } from './backend.ts';

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
  const { int8Product } = options;
  if (int8Product !== undefined && !int8Products.includes(int8Product)) {
    throw new DejaDitError('INVALID_ARGUMENT', `is ${int8Products.join(' or ')}, not '${int8Product}'`, {
      path: 'int8Product',
    });
  }
  const backend = await openBackend(options);
  if (int8Product === 'u8s8' && !backend.capabilities.signedWeightsExact) {
    const wrong = `u8s8 overflows on this processor (backend ${backend.name}), so int8 layers will be wrong`;
    warn(`int8Product: ${wrong}; leave it out, or set u8u8`);
  }
  return backend;
}

/** Without a word on options that are allowed but unwise: the worker's side, whose creator has said it. */
export async function openBackend(options: CreateBackendOptions): Promise<Backend> {
  if (options.worker)
    return (await import('./worker/worker-backend.ts')).WorkerBackend.create({ ...options, worker: false });
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
