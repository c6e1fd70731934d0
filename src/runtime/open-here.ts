/**
 * Backends in the calling thread. Each is imported when asked for, so that nobody pays for loading what they do not use. A worker's thread
 * begins here: nothing below can start another thread, so bundlers need not put a worker's script into itself.
 */
import type { Backend } from './backend.ts';
import type { OpenBackendOptions } from './create-backend.ts';

/** `options.worker` has been seen to. */
export async function openHere(options: OpenBackendOptions): Promise<Backend> {
  switch (options.backend) {
    case 'cpu':
      return (await import('#runtime/ort-node/ort-node')).createCpuBackend(options);
    case 'wasm':
      return (await import('./ort-web/ort-web.ts')).createWasmBackend(options);
    case 'webgpu':
      return (await import('#runtime/ort-node/webgpu')).createWebGpuBackend();
  }
}
