/** The WebGPU backend of native ONNX Runtime: Vulkan, Metal or Direct3D 12 through Dawn. */
import { DejaDitError } from '../../errors/errors.ts';
import type { Backend } from '../backend.ts';
import { openWebGpu } from '../ort-common/webgpu-backend.ts';
import { loadOrtNode } from './load.ts';
import { probeProvider } from './probe.ts';

/** @throws DejaDitError UNSUPPORTED where no GPU or driver is found, or computes wrong */
export async function createWebGpuBackend(): Promise<Backend> {
  const ort = await loadOrtNode();
  const { works, reason } = await probeProvider('webgpu');
  if (!works) {
    const remedy = "update or install the graphics driver (Linux: Vulkan), or use backend 'cpu'";
    throw new DejaDitError('UNSUPPORTED', `no GPU can be used (${reason}); ${remedy}`, { path: 'webgpu' });
  }
  return openWebGpu({ ort, provider: { name: 'webgpu' } });
}
