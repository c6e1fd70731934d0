/** Test support: whether there is a device that WebGPU runs on. Without one, what needs it says so and is skipped. */
import { probeProvider } from '../src/runtime/ort-node/probe.ts';

const { works, reason } = await probeProvider('webgpu');

export const hasWebGpu = works;

if (!works) console.warn(`NOT CHECKED: nothing was run on WebGPU here (${reason})`);
