/**
 * ONNX Runtime's WebGPU is for one thread of a process: when two use it, runs fail or the process ends (1.30). This keeps count, so that
 * the second is refused.
 */
import { DejaDitError } from '../errors/errors.ts';
import type { Backend } from './backend.ts';

/** Whether the backends that are open, or being opened, compute in a thread of their own. */
const open = new Map<symbol, { worker: boolean; backend: Backend | undefined }>();

/** Opens a WebGPU backend. @throws DejaDitError UNSUPPORTED while another thread has one */
export async function inWebGpuThread(worker: boolean, create: () => Promise<Backend>): Promise<Backend> {
  for (const [key, { backend }] of open) if (backend?.closed) open.delete(key);
  const other = [...open.values()].find((entry) => entry.worker || worker);
  if (other) {
    const place = other.worker ? 'a worker thread' : 'the calling thread';
    const remedy = 'dispose that backend first, or share its programs';
    throw new DejaDitError('UNSUPPORTED', `a process can use WebGPU from one thread only, now ${place}; ${remedy}`, {
      path: 'webgpu',
    });
  }
  const key = Symbol();
  const entry = { worker, backend: undefined as Backend | undefined };
  open.set(key, entry);
  try {
    entry.backend = await create();
    return entry.backend;
  } catch (error) {
    open.delete(key);
    throw error;
  }
}
