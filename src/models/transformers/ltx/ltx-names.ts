/** LTX-Video's tensors as Lightricks named them. */
import { type NameTable, under } from '../../../weights/names/name-table.ts';

const norms = { q_norm: 'norm_q', k_norm: 'norm_k' };

export const ltxNames: NameTable = {
  patchify_proj: 'proj_in',
  ...under('adaln_single', 'time_embed', {
    'emb.timestep_embedder.linear_1': 'emb.timestep_embedder.linear_1',
    'emb.timestep_embedder.linear_2': 'emb.timestep_embedder.linear_2',
    linear: 'linear',
  }),
  ...under('transformer_blocks.#.attn1', 'transformer_blocks.#.attn1', norms),
  ...under('transformer_blocks.#.attn2', 'transformer_blocks.#.attn2', norms),
};
