/** The WebAssembly backend: onnxruntime-web's CPU build. Runs in browsers, and in Node where there is no native binary. */
import type { Backend, BackendOptions } from '../backend.ts';
import { OrtBackend } from '../ort-common/ort-backend.ts';
import { processorCapabilities } from '../trials/capabilities.ts';
import { useAssets } from './assets.ts';

/** @param options `threads` above 1 need SharedArrayBuffer (in a browser: COOP and COEP headers) */
export async function createWasmBackend({ threads = 1, int8Product }: BackendOptions = {}): Promise<Backend> {
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
