/** The native CPU backend: onnxruntime-node. */
import os from 'node:os';
import type { Backend, BackendOptions } from '../backend.ts';
import { OrtBackend } from '../ort-common/ort-backend.ts';
import { processorCapabilities } from '../trials/capabilities.ts';
import { loadOrtNode } from './load.ts';

/** @throws DejaDitError UNSUPPORTED where onnxruntime-node does not load (use `createWasmBackend`) */
export async function createCpuBackend({
  threads = defaultThreads(),
  spinning = false,
  int8Product,
}: BackendOptions = {}): Promise<Backend> {
  return OrtBackend.create({
    name: 'cpu',
    ort: await loadOrtNode(),
    serialize: false,
    findCapabilities: (backend) => processorCapabilities(backend, int8Product),
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
