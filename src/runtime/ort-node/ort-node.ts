/** The native CPU backend: onnxruntime-node. */
import os from 'node:os';
import { DejaDitError } from '../../errors/errors.ts';
import type { Backend, BackendOptions } from '../backend.ts';
import { OrtBackend, type OrtModule } from '../ort-common/ort-backend.ts';

/**
 * @throws DejaDitError UNSUPPORTED where onnxruntime-node has no binary for this platform (use `createWasmBackend`)
 */
export async function createCpuBackend({
  threads = defaultThreads(),
  spinning = false,
  int8Product,
}: BackendOptions = {}): Promise<Backend> {
  let ort: OrtModule;
  try {
    const module = await import('onnxruntime-node');
    ort = module.default ?? module;
  } catch (cause) {
    throw new DejaDitError(
      'UNSUPPORTED',
      `onnxruntime-node does not load on ${process.platform}-${process.arch}; use the 'wasm' backend`,
      { cause },
    );
  }
  return OrtBackend.create({
    name: 'cpu',
    ort,
    serialize: false,
    int8Product,
    sessionOptions: {
      executionProviders: ['cpu'],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      // Threads of one session that wait in a busy loop take the cores from the next: a cached step runs two or three.
      extra: { session: { intra_op: { allow_spinning: spinning ? '1' : '0' } } },
      executionMode: 'sequential',
      graphOptimizationLevel: 'all',
      logSeverityLevel: 3,
    },
  });
}

export function defaultThreads(): number {
  return Math.max(1, Math.min(16, os.availableParallelism()));
}
