/** The ControlNets by class name; a new one is one line here. Each file is loaded when its family is asked for. */
import type { GraphModelFamily } from '../graph-model.ts';

export const controlNetFamilies: Readonly<Record<string, () => Promise<GraphModelFamily>>> = {
  FluxControlNetModel: async () => (await import('./flux-controlnet.ts')).fluxControlNet,
};
