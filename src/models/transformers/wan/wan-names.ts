/** Wan's tensors as Alibaba named them. */
import { type NameTable, under } from '../../../weights/names/name-table.ts';

const attention = { q: 'to_q', k: 'to_k', v: 'to_v', o: 'to_out.0', norm_q: 'norm_q', norm_k: 'norm_k' };

export const wanNames: NameTable = {
  ...under('time_embedding', 'condition_embedder.time_embedder', { 0: 'linear_1', 2: 'linear_2' }),
  ...under('text_embedding', 'condition_embedder.text_embedder', { 0: 'linear_1', 2: 'linear_2' }),
  'time_projection.1': 'condition_embedder.time_proj',
  ...under('img_emb.proj', 'condition_embedder.image_embedder', {
    0: 'norm1',
    1: 'ff.net.0.proj',
    3: 'ff.net.2',
    4: 'norm2',
  }),
  ...under('blocks.#.self_attn', 'blocks.#.attn1', attention),
  ...under('blocks.#.cross_attn', 'blocks.#.attn2', {
    ...attention,
    k_img: 'add_k_proj',
    v_img: 'add_v_proj',
    norm_k_img: 'norm_added_k',
  }),
  ...under('blocks.#', 'blocks.#', {
    // Diffusers counts the norms in the order in which they are used.
    norm3: 'norm2',
    'ffn.0': 'ffn.net.0.proj',
    'ffn.2': 'ffn.net.2',
    modulation: 'scale_shift_table',
  }),
  'head.head': 'proj_out',
  'head.modulation': 'scale_shift_table',
};
