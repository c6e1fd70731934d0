/** The WebGPU backend of a page: onnxruntime-web, on a device of our own. */
import { DejaDitError } from '../../errors/errors.ts';
import type { Backend } from '../backend.ts';
import { openWebGpu } from '../ort-common/webgpu-backend.ts';
import { useAssets } from '../ort-web/assets.ts';

/** One for the page: ONNX Runtime keeps to the first that it is given. */
let device: Promise<GPUDevice> | undefined;

/** @throws DejaDitError UNSUPPORTED where no GPU is found, or computes wrong */
export async function createWebGpuBackend(): Promise<Backend> {
  device ??= requestDevice();
  device.catch(() => {
    device = undefined;
  });
  const { limits, features } = await device;
  const ort = await import('onnxruntime-web/webgpu');
  useAssets(ort.env.wasm, 'ort-wasm-simd-threaded.asyncify.wasm');
  return openWebGpu({
    ort,
    provider: { name: 'webgpu', device: await device },
    maxBinding: limits.maxStorageBufferBindingSize,
    float16: features.has('shader-f16'),
  });
}

/** With all that the adapter has, but for subgroups: with them its drivers get attention wrong (ONNX Runtime 1.30 on Vulkan). */
async function requestDevice(): Promise<GPUDevice> {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) {
    const reason =
      "this browser gives pages no GPU (WebGPU needs https or localhost, and a driver); use backend 'wasm'";
    throw new DejaDitError('UNSUPPORTED', reason, { path: 'webgpu' });
  }
  const limits = [
    'maxStorageBufferBindingSize',
    'maxBufferSize',
    'maxStorageBuffersPerShaderStage',
    'maxComputeWorkgroupStorageSize',
    'maxComputeInvocationsPerWorkgroup',
    'maxComputeWorkgroupSizeX',
    'maxComputeWorkgroupSizeY',
    'maxComputeWorkgroupSizeZ',
    'maxComputeWorkgroupsPerDimension',
  ] as const;
  return adapter.requestDevice({
    requiredFeatures: adapter.features.has('shader-f16') ? ['shader-f16'] : [],
    requiredLimits: Object.fromEntries(limits.map((name) => [name, adapter.limits[name]])),
  });
}
