/** The WebAssembly backend: onnxruntime-web's CPU build. Runs in browsers, and in Node where there is no native binary. */
import { DejaDitError } from '../../errors/errors.ts';
import type { Backend, BackendOptions } from '../backend.ts';
import { OrtBackend } from '../ort-common/ort-backend.ts';
import { processorCapabilities } from '../trials/capabilities.ts';
import { useAssets } from './assets.ts';

/**
 * @param options `threads` above 1 need a page that is isolated from others
 * @throws DejaDitError UNSUPPORTED if there is only one thread to be had
 */
export async function createWasmBackend({ threads = 1, int8Product }: BackendOptions = {}): Promise<Backend> {
  if (threads > 1) requireIsolatedPage();
  const ort = await import('onnxruntime-web/wasm');
  ort.env.wasm.numThreads = threads;
  useAssets(ort.env.wasm, 'ort-wasm-simd-threaded.wasm');
  return OrtBackend.create({
    name: 'wasm',
    ort,
    serialize: true,
    findCapabilities: (backend) => processorCapabilities(backend, int8Product),
    sessionOptions: { executionProviders: ['wasm'], graphOptimizationLevel: 'all', logSeverityLevel: 3 },
  });
}

function requireIsolatedPage(): void {
  const { crossOriginIsolated: isolated } = globalThis as { crossOriginIsolated?: boolean };
  if (isolated) return;
  const why =
    isolated === undefined
      ? 'WebAssembly computes on one thread outside of pages; leave it out, or take the backend cpu'
      : 'needs a page that is isolated from others; send the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp, or leave it out';
  throw new DejaDitError('UNSUPPORTED', why, { path: 'threads' });
}
