/** Z-Image's tensors as Tongyi named them. */
import { evenly, type NameTable, under } from '../../../weights/names/name-table.ts';

const blocks = ['layers.#', 'noise_refiner.#', 'context_refiner.#'].map(
  (block): NameTable => ({
    [`${block}.attention.qkv`]: evenly(`${block}.attention.to_q`, `${block}.attention.to_k`, `${block}.attention.to_v`),
    ...under(`${block}.attention`, `${block}.attention`, { out: 'to_out.0', q_norm: 'norm_q', k_norm: 'norm_k' }),
  }),
);

export const zImageNames: NameTable = {
  x_embedder: 'all_x_embedder.2-1',
  ...Object.assign({}, ...blocks),
  'final_layer.linear': 'all_final_layer.2-1.linear',
  'final_layer.adaLN_modulation.1': 'all_final_layer.2-1.adaLN_modulation.1',
};
