/** Stable Diffusion 3's tensors as Stability AI named them. */
import { type CutModule, evenly, halvesSwapped, type NameTable, under } from '../../../weights/names/name-table.ts';

const block = 'transformer_blocks.#';

/** In the last block the text is only normed, by a norm of two halves where others have six parts. */
const contextModulation: CutModule = {
  into: [`${block}.norm1_context.linear`],
  rows: (out, inner) => (out === 2 * inner ? halvesSwapped('').rows(out, inner) : [[[0, out]]]),
};

export const sd3Names: NameTable = {
  pos_embed: 'pos_embed.pos_embed',
  'x_embedder.proj': 'pos_embed.proj',
  't_embedder.mlp.0': 'time_text_embed.timestep_embedder.linear_1',
  't_embedder.mlp.2': 'time_text_embed.timestep_embedder.linear_2',
  'y_embedder.mlp.0': 'time_text_embed.text_embedder.linear_1',
  'y_embedder.mlp.2': 'time_text_embed.text_embedder.linear_2',
  'joint_blocks.#.x_block.attn.qkv': evenly(`${block}.attn.to_q`, `${block}.attn.to_k`, `${block}.attn.to_v`),
  'joint_blocks.#.x_block.attn2.qkv': evenly(`${block}.attn2.to_q`, `${block}.attn2.to_k`, `${block}.attn2.to_v`),
  'joint_blocks.#.context_block.attn.qkv': evenly(
    `${block}.attn.add_q_proj`,
    `${block}.attn.add_k_proj`,
    `${block}.attn.add_v_proj`,
  ),
  ...under('joint_blocks.#.x_block', block, {
    'attn.ln_q': 'attn.norm_q',
    'attn.ln_k': 'attn.norm_k',
    'attn.proj': 'attn.to_out.0',
    'attn2.ln_q': 'attn2.norm_q',
    'attn2.ln_k': 'attn2.norm_k',
    'attn2.proj': 'attn2.to_out.0',
    'adaLN_modulation.1': 'norm1.linear',
    'mlp.fc1': 'ff.net.0.proj',
    'mlp.fc2': 'ff.net.2',
  }),
  ...under('joint_blocks.#.context_block', block, {
    'attn.ln_q': 'attn.norm_added_q',
    'attn.ln_k': 'attn.norm_added_k',
    'attn.proj': 'attn.to_add_out',
    'mlp.fc1': 'ff_context.net.0.proj',
    'mlp.fc2': 'ff_context.net.2',
  }),
  'joint_blocks.#.context_block.adaLN_modulation.1': contextModulation,
  'final_layer.adaLN_modulation.1': halvesSwapped('norm_out.linear'),
  'final_layer.linear': 'proj_out',
};
