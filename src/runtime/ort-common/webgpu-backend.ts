/** ONNX Runtime's WebGPU provider, the same in native code and in browsers. */
import type { InferenceSession } from 'onnxruntime-common';
import type { Backend } from '../backend.ts';
import { webgpuCapabilities } from '../trials/capabilities.ts';
import { devicePlace } from './device-memory.ts';
import { OrtBackend, type OrtModule } from './ort-backend.ts';

export interface WebGpuOptions {
  ort: OrtModule;
  /** In browsers: the device to use, `{ name: 'webgpu', device }`. */
  provider: InferenceSession.WebGpuExecutionProviderOption;
  /** Bytes of the largest buffer that a shader can be given, where that is known. */
  maxBinding?: number | undefined;
  /** False where the device is known to have none: ONNX Runtime would print an error of the trial. Default: it is tried. */
  float16?: boolean | undefined;
}

/** @throws DejaDitError UNSUPPORTED where there is no device, or it computes wrong */
export async function openWebGpu({ ort, provider, maxBinding, float16 }: WebGpuOptions): Promise<Backend> {
  const sessionOptions: InferenceSession.SessionOptions = {
    // The other layout gives wrong convolutions for some numbers of channels.
    executionProviders: [{ preferredLayout: 'NCHW', ...provider }],
    graphOptimizationLevel: 'all',
    logSeverityLevel: 4,
  };
  return OrtBackend.create({
    name: 'webgpu',
    ort,
    serialize: true,
    // An operator that the device lacks is an error: on the processor it would be slow, unseen.
    sessionOptions: { ...sessionOptions, extra: { session: { disable_cpu_ep_fallback: '1' } } },
    place: (call) => devicePlace({ ort, sessionOptions, call }),
    findCapabilities: (backend) => webgpuCapabilities(backend, { maxBinding, float16 }),
  });
}
