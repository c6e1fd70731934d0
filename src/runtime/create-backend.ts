/** Backends by name, in the calling thread or one of their own. */
import * as z from 'zod';
import { type ArgumentShape, readArguments } from '../errors/arguments.ts';
import { DejaDitError, suggest } from '../errors/errors.ts';
import { warn } from '../errors/warnings.ts';
import { type Backend, type BackendOptions, int8Products } from './backend.ts';
import { openHere } from './open-here.ts';
import { inWebGpuThread } from './webgpu-thread.ts';

export const backendNames = ['cpu', 'wasm', 'webgpu'] as const;
export type BackendName = (typeof backendNames)[number];
export const backendChoices = [...backendNames, 'auto'] as const;
export type BackendChoice = (typeof backendChoices)[number];

export interface CreateBackendOptions extends BackendOptions {
  /**
   * `cpu`: native ONNX Runtime. `wasm`: WebAssembly, runs anywhere, slower. `webgpu`: the GPU, where it computes right, which is tried.
   * `auto`: `webgpu` where that works, else the default; `Backend.name` says which. Default: `cpu`, and where onnxruntime-node is not
   * installed or does not load, `wasm` with a warning.
   */
  backend?: BackendChoice;
  /** Compute in a thread of its own, so that the calling thread stays responsive. Default false. */
  worker?: boolean;
}

export const backendShape: ArgumentShape<CreateBackendOptions> = {
  backend: z.string(),
  worker: z.boolean(),
  threads: z.int().min(1).max(1024),
  spinning: z.boolean(),
  int8Product: z.enum(int8Products),
};

/**
 * @throws DejaDitError UNSUPPORTED where this machine cannot run the backend that is asked for
 * @example
 * const backend = await createBackend({ worker: true });
 * const pipe = await DiffusionPipeline.fromPretrained(bundledModel(), { programs: new ProgramCache(backend) });
 */
export async function createBackend(args: CreateBackendOptions = {}): Promise<Backend> {
  const options = readArguments(backendShape, args, { of: 'createBackend' });
  const backend = options.backend === 'auto' ? await openBest(options) : await openNamed(options, options.backend);
  if (options.int8Product === 'u8s8' && !backend.capabilities.signedWeightsExact) {
    const wrong = `u8s8 overflows on this processor (backend ${backend.name}), so int8 layers will be wrong`;
    warn(`int8Product: ${wrong}; leave it out, or set u8u8`);
  }
  return backend;
}

async function openNamed(options: CreateBackendOptions, name: BackendName | undefined): Promise<Backend> {
  return openBackend({ ...options, backend: name ?? (await defaultBackend()) });
}

/** The GPU where there is one that computes right. */
async function openBest(options: CreateBackendOptions): Promise<Backend> {
  const { threads, spinning, int8Product, ...rest } = options;
  try {
    return await openBackend({ ...rest, backend: 'webgpu' });
  } catch (error) {
    if (!(error instanceof DejaDitError && error.code === 'UNSUPPORTED')) throw error;
    return openNamed(options, undefined);
  }
}

/** With the backend decided. */
export type OpenBackendOptions = Omit<CreateBackendOptions, 'backend'> & { backend: BackendName };

/** Options are complete here, and what is allowed but unwise has been said. */
export async function openBackend(options: OpenBackendOptions): Promise<Backend> {
  const { backend, worker } = options;
  if ((backend as string) === 'cuda')
    throw new DejaDitError(
      'UNSUPPORTED',
      "'cuda' is not a backend here: tensors could not stay on the card between runs; use 'webgpu', which runs on the same card " +
        '(docs/gpu.md)',
      { path: 'backend' },
    );
  if (!backendNames.includes(backend))
    throw new DejaDitError(
      'INVALID_ARGUMENT',
      `unknown backend ${JSON.stringify(backend)}; ${suggest(String(backend), backendChoices)}`,
      { path: 'backend' },
    );
  const idle = (['threads', 'spinning', 'int8Product'] as const).find((name) => options[name] !== undefined);
  if (backend === 'webgpu' && idle)
    throw new DejaDitError('INVALID_ARGUMENT', `has no effect on backend 'webgpu'; leave it out`, { path: idle });
  const open = async (): Promise<Backend> =>
    worker ? (await import('./worker/worker-backend.ts')).WorkerBackend.create(options) : openHere(options);
  return backend === 'webgpu' ? inWebGpuThread(worker ?? false, open) : open();
}

/** The native one where it loads. */
export async function defaultBackend(): Promise<BackendName> {
  // A browser has no native code, and nobody to blame for it.
  if (!('process' in globalThis)) return 'wasm';
  try {
    await (await import('#runtime/ort-node/load')).loadOrtNode();
    return 'cpu';
  } catch (error) {
    warn(`backend: ${(error as Error).message}, several times slower, and is used now`);
    return 'wasm';
  }
}
