/** HunyuanVideo's tensors as Tencent named them. */
import { cutBy, evenly, halvesSwapped, type NameTable, under } from '../../../weights/names/name-table.ts';

const double = 'transformer_blocks.#';
const single = 'single_transformer_blocks.#';
const refiner = 'context_embedder.token_refiner.refiner_blocks.#';
const qkv = (block: string, names: readonly [string, string, string] = ['to_q', 'to_k', 'to_v']) =>
  names.map((name) => `${block}.attn.${name}`);

export const hunyuanVideoNames: NameTable = {
  'img_in.proj': 'x_embedder.proj',
  'time_in.mlp.0': 'time_text_embed.timestep_embedder.linear_1',
  'time_in.mlp.2': 'time_text_embed.timestep_embedder.linear_2',
  'vector_in.in_layer': 'time_text_embed.text_embedder.linear_1',
  'vector_in.out_layer': 'time_text_embed.text_embedder.linear_2',
  'guidance_in.mlp.0': 'time_text_embed.guidance_embedder.linear_1',
  'guidance_in.mlp.2': 'time_text_embed.guidance_embedder.linear_2',
  ...under('txt_in', 'context_embedder', {
    input_embedder: 'proj_in',
    't_embedder.mlp.0': 'time_text_embed.timestep_embedder.linear_1',
    't_embedder.mlp.2': 'time_text_embed.timestep_embedder.linear_2',
    'c_embedder.linear_1': 'time_text_embed.text_embedder.linear_1',
    'c_embedder.linear_2': 'time_text_embed.text_embedder.linear_2',
  }),
  'txt_in.individual_token_refiner.blocks.#.self_attn_qkv': evenly(...qkv(refiner)),
  ...under('txt_in.individual_token_refiner.blocks.#', refiner, {
    norm1: 'norm1',
    norm2: 'norm2',
    self_attn_proj: 'attn.to_out.0',
    'mlp.fc1': 'ff.net.0.proj',
    'mlp.fc2': 'ff.net.2',
    'adaLN_modulation.1': 'norm_out.linear',
  }),
  'double_blocks.#.img_attn_qkv': evenly(...qkv(double)),
  'double_blocks.#.txt_attn_qkv': evenly(...qkv(double, ['add_q_proj', 'add_k_proj', 'add_v_proj'])),
  ...under('double_blocks.#', double, {
    'img_mod.linear': 'norm1.linear',
    img_attn_q_norm: 'attn.norm_q',
    img_attn_k_norm: 'attn.norm_k',
    img_attn_proj: 'attn.to_out.0',
    'img_mlp.fc1': 'ff.net.0.proj',
    'img_mlp.fc2': 'ff.net.2',
    'txt_mod.linear': 'norm1_context.linear',
    txt_attn_q_norm: 'attn.norm_added_q',
    txt_attn_k_norm: 'attn.norm_added_k',
    txt_attn_proj: 'attn.to_add_out',
    'txt_mlp.fc1': 'ff_context.net.0.proj',
    'txt_mlp.fc2': 'ff_context.net.2',
  }),
  'single_blocks.#.linear1': cutBy([...qkv(single), `${single}.proj_mlp`], (_, inner) => [
    inner,
    inner,
    inner,
    undefined,
  ]),
  ...under('single_blocks.#', single, {
    linear2: 'proj_out',
    'modulation.linear': 'norm.linear',
    q_norm: 'attn.norm_q',
    k_norm: 'attn.norm_k',
  }),
  'final_layer.adaLN_modulation.1': halvesSwapped('norm_out.linear'),
  'final_layer.linear': 'proj_out',
};
