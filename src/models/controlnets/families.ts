/** The ControlNets by class name; a new one is one line here. Each file is loaded when its family is asked for. */
import type { GraphModelFamily } from '../graph-model.ts';

export const controlNetFamilies: Readonly<Record<string, () => Promise<GraphModelFamily>>> = {
  FluxControlNetModel: async () => (await import('./flux-controlnet.ts')).fluxControlNet,
  QwenImageControlNetModel: async () => (await import('./qwenimage-controlnet.ts')).qwenImageControlNet,
  SD3ControlNetModel: async () => (await import('./sd3-controlnet.ts')).sd3ControlNet,
};
