/** Lumina Image 2.0's tensors as first released. */
import { cutBy, type NameTable, under } from '../../../weights/names/name-table.ts';

/** Queries are as wide as the stream; keys and values share the rest. */
const grouped = (block: string) =>
  cutBy([`${block}.attn.to_q`, `${block}.attn.to_k`, `${block}.attn.to_v`], (out, inner) => [
    inner,
    (out - inner) / 2,
    (out - inner) / 2,
  ]);

const block = (name: string): NameTable => ({
  [`${name}.attention.qkv`]: grouped(name),
  ...under(name, name, {
    'attention.out': 'attn.to_out.0',
    'attention.q_norm': 'attn.norm_q',
    'attention.k_norm': 'attn.norm_k',
    'feed_forward.w1': 'feed_forward.linear_1',
    'feed_forward.w2': 'feed_forward.linear_2',
    'feed_forward.w3': 'feed_forward.linear_3',
    attention_norm2: 'norm2',
  }),
});

/** Blocks that the time modulates. */
const modulated = (name: string): NameTable => ({
  ...block(name),
  ...under(name, name, { attention_norm1: 'norm1.norm', 'adaLN_modulation.1': 'norm1.linear' }),
});

export const lumina2Names: NameTable = {
  'cap_embedder.0': 'time_caption_embed.caption_embedder.0',
  'cap_embedder.1': 'time_caption_embed.caption_embedder.1',
  't_embedder.mlp.0': 'time_caption_embed.timestep_embedder.linear_1',
  't_embedder.mlp.2': 'time_caption_embed.timestep_embedder.linear_2',
  ...modulated('layers.#'),
  ...modulated('noise_refiner.#'),
  ...block('context_refiner.#'),
  'context_refiner.#.attention_norm1': 'context_refiner.#.norm1',
  'final_layer.adaLN_modulation.1': 'norm_out.linear_1',
  'final_layer.linear': 'norm_out.linear_2',
};
