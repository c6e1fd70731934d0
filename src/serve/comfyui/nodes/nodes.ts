/** The node classes of this server by name. */
import type { NodeClass } from '../graph/node.ts';
import { caches } from './caches.ts';
import { controlNets } from './controlnets.ts';
import { customSampling } from './custom-sampling.ts';
import { latents } from './latents.ts';
import { loaders } from './loaders.ts';
import { loras } from './loras.ts';
import { pictures } from './pictures.ts';
import { samplers } from './samplers.ts';
import { texts } from './texts.ts';

export const nodeClasses: Readonly<Record<string, NodeClass>> = {
  ...loaders,
  ...loras,
  ...texts,
  ...controlNets,
  ...latents,
  ...samplers,
  ...customSampling,
  ...pictures,
  ...caches,
};
