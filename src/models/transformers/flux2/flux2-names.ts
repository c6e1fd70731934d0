/** FLUX.2's tensors as Black Forest Labs named them. */
import { evenly, halvesSwapped, type NameTable, under } from '../../../weights/names/name-table.ts';

const double = 'transformer_blocks.#';
const single = 'single_transformer_blocks.#';

export const flux2Names: NameTable = {
  img_in: 'x_embedder',
  txt_in: 'context_embedder',
  'time_in.in_layer': 'time_guidance_embed.timestep_embedder.linear_1',
  'time_in.out_layer': 'time_guidance_embed.timestep_embedder.linear_2',
  'guidance_in.in_layer': 'time_guidance_embed.guidance_embedder.linear_1',
  'guidance_in.out_layer': 'time_guidance_embed.guidance_embedder.linear_2',
  'double_stream_modulation_img.lin': 'double_stream_modulation_img.linear',
  'double_stream_modulation_txt.lin': 'double_stream_modulation_txt.linear',
  'single_stream_modulation.lin': 'single_stream_modulation.linear',
  'double_blocks.#.img_attn.qkv': evenly(`${double}.attn.to_q`, `${double}.attn.to_k`, `${double}.attn.to_v`),
  'double_blocks.#.txt_attn.qkv': evenly(
    `${double}.attn.add_q_proj`,
    `${double}.attn.add_k_proj`,
    `${double}.attn.add_v_proj`,
  ),
  ...under('double_blocks.#', double, {
    'img_attn.norm.query_norm.scale': 'attn.norm_q.weight',
    'img_attn.norm.key_norm.scale': 'attn.norm_k.weight',
    'img_attn.proj': 'attn.to_out.0',
    'img_mlp.0': 'ff.linear_in',
    'img_mlp.2': 'ff.linear_out',
    'txt_attn.norm.query_norm.scale': 'attn.norm_added_q.weight',
    'txt_attn.norm.key_norm.scale': 'attn.norm_added_k.weight',
    'txt_attn.proj': 'attn.to_add_out',
    'txt_mlp.0': 'ff_context.linear_in',
    'txt_mlp.2': 'ff_context.linear_out',
  }),
  ...under('single_blocks.#', single, {
    linear1: 'attn.to_qkv_mlp_proj',
    linear2: 'attn.to_out',
    'norm.query_norm.scale': 'attn.norm_q.weight',
    'norm.key_norm.scale': 'attn.norm_k.weight',
  }),
  'final_layer.adaLN_modulation.1': halvesSwapped('norm_out.linear'),
  'final_layer.linear': 'proj_out',
};
