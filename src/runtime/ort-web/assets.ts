/** Where a page has the files that a bundler did not bring along. In Node nothing is to be set. */
import type { Env } from 'onnxruntime-common';

export interface Assets {
  /**
   * The folder of ONNX Runtime's WebAssembly (`ort-wasm-simd-threaded*.wasm` of onnxruntime-web), or the bytes of the one file that the
   * backend needs. Default: beside the script; vite and webpack put it where it is found.
   */
  wasm?: string | URL | ArrayBuffer | undefined;
  /** The script of worker threads: `deja-dit/web/worker`, bundled. Default: `worker-main.web.js` beside the script. */
  worker?: string | URL | undefined;
}

/** What was set, as it goes to worker threads. */
export const assets: { wasm?: string | ArrayBuffer; worker?: string } = {};

/**
 * Says where files are. To be called before the first backend is created.
 * @example
 * setAssets({ wasm: 'https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/dist/' });
 */
export function setAssets({ wasm, worker }: Assets): void {
  const absolute = (url: string | URL) =>
    new URL(url, (globalThis as { location?: { href: string } }).location?.href).href;
  if (wasm !== undefined) assets.wasm = wasm instanceof ArrayBuffer ? wasm : absolute(wasm).replace(/\/?$/, '/');
  if (worker !== undefined) assets.worker = absolute(worker);
}

/** Tells ONNX Runtime. @param file the build that it is about to load */
export function useAssets(flags: Env.WebAssemblyFlags, file: string): void {
  const { wasm } = assets;
  if (typeof wasm === 'string') flags.wasmPaths = { wasm: `${wasm}${file}` };
  else if (wasm) flags.wasmBinary = wasm;
}
