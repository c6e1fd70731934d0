/** Chroma's tensors as first released: FLUX.1's blocks, without their modulations. */
import type { NameTable } from '../../../weights/names/name-table.ts';
import { fluxBlockNames } from '../flux/flux-names.ts';

export const chromaNames: NameTable = {
  img_in: 'x_embedder',
  txt_in: 'context_embedder',
  'distilled_guidance_layer.layers.#.in_layer': 'distilled_guidance_layer.layers.#.linear_1',
  'distilled_guidance_layer.layers.#.out_layer': 'distilled_guidance_layer.layers.#.linear_2',
  'distilled_guidance_layer.norms.#.scale': 'distilled_guidance_layer.norms.#.weight',
  ...fluxBlockNames,
  'final_layer.linear': 'proj_out',
};
