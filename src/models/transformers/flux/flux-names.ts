/** FLUX.1's tensors as Black Forest Labs named them, and as xlabs names its LoRAs. */
import { cutBy, evenly, halvesSwapped, type NameTable } from '../../../weights/names/name-table.ts';

const double = 'transformer_blocks.#';
const single = 'single_transformer_blocks.#';

const imageQkv = evenly(`${double}.attn.to_q`, `${double}.attn.to_k`, `${double}.attn.to_v`);
const textQkv = evenly(`${double}.attn.add_q_proj`, `${double}.attn.add_k_proj`, `${double}.attn.add_v_proj`);
const singleQkv = [`${single}.attn.to_q`, `${single}.attn.to_k`, `${single}.attn.to_v`];

/** The blocks, which Chroma shares. */
export const fluxBlockNames: NameTable = {
  'double_blocks.#.img_attn.qkv': imageQkv,
  'double_blocks.#.img_attn.norm.query_norm.scale': `${double}.attn.norm_q.weight`,
  'double_blocks.#.img_attn.norm.key_norm.scale': `${double}.attn.norm_k.weight`,
  'double_blocks.#.img_attn.proj': `${double}.attn.to_out.0`,
  'double_blocks.#.img_mlp.0': `${double}.ff.net.0.proj`,
  'double_blocks.#.img_mlp.2': `${double}.ff.net.2`,
  'double_blocks.#.txt_attn.qkv': textQkv,
  'double_blocks.#.txt_attn.norm.query_norm.scale': `${double}.attn.norm_added_q.weight`,
  'double_blocks.#.txt_attn.norm.key_norm.scale': `${double}.attn.norm_added_k.weight`,
  'double_blocks.#.txt_attn.proj': `${double}.attn.to_add_out`,
  'double_blocks.#.txt_mlp.0': `${double}.ff_context.net.0.proj`,
  'double_blocks.#.txt_mlp.2': `${double}.ff_context.net.2`,
  'single_blocks.#.linear1': cutBy([...singleQkv, `${single}.proj_mlp`], (_, inner) => [
    inner,
    inner,
    inner,
    undefined,
  ]),
  'single_blocks.#.linear2': `${single}.proj_out`,
  'single_blocks.#.norm.query_norm.scale': `${single}.attn.norm_q.weight`,
  'single_blocks.#.norm.key_norm.scale': `${single}.attn.norm_k.weight`,
  // xlabs: the layers beside which an attention processor of its own has LoRAs.
  'double_blocks.#.processor.qkv_lora1': imageQkv,
  'double_blocks.#.processor.proj_lora1': `${double}.attn.to_out.0`,
  'double_blocks.#.processor.qkv_lora2': textQkv,
  'double_blocks.#.processor.proj_lora2': `${double}.attn.to_add_out`,
  'single_blocks.#.processor.qkv_lora': evenly(...singleQkv),
  'single_blocks.#.processor.proj_lora': `${single}.proj_out`,
};

export const fluxNames: NameTable = {
  img_in: 'x_embedder',
  txt_in: 'context_embedder',
  'time_in.in_layer': 'time_text_embed.timestep_embedder.linear_1',
  'time_in.out_layer': 'time_text_embed.timestep_embedder.linear_2',
  'vector_in.in_layer': 'time_text_embed.text_embedder.linear_1',
  'vector_in.out_layer': 'time_text_embed.text_embedder.linear_2',
  'guidance_in.in_layer': 'time_text_embed.guidance_embedder.linear_1',
  'guidance_in.out_layer': 'time_text_embed.guidance_embedder.linear_2',
  ...fluxBlockNames,
  'double_blocks.#.img_mod.lin': `${double}.norm1.linear`,
  'double_blocks.#.txt_mod.lin': `${double}.norm1_context.linear`,
  'single_blocks.#.modulation.lin': `${single}.norm.linear`,
  'final_layer.adaLN_modulation.1': halvesSwapped('norm_out.linear'),
  'final_layer.linear': 'proj_out',
};

/** The config of a model with these weights; undefined for one whose positions are not FLUX.1's, which weights do not tell. */
export function inferFluxConfig(shapes: ReadonlyMap<string, readonly number[]>): Record<string, unknown> | undefined {
  const size = (name: string, axis: number) => shapes.get(name)?.[axis];
  const count = (list: string) => {
    const indices = [...shapes.keys()].map((name) => new RegExp(`^${list}\\.(\\d+)\\.`).exec(name)?.[1]);
    return new Set(indices.filter((index) => index !== undefined)).size;
  };
  const [width, head] = [size('img_in.weight', 0), size('double_blocks.0.img_attn.norm.query_norm.scale', 0)];
  if (width === undefined || head !== 128) return undefined;
  return {
    _class_name: 'FluxTransformer2DModel',
    in_channels: size('img_in.weight', 1),
    out_channels: size('final_layer.linear.weight', 0),
    num_layers: count('double_blocks'),
    num_single_layers: count('single_blocks'),
    attention_head_dim: head,
    num_attention_heads: width / head,
    joint_attention_dim: size('txt_in.weight', 1),
    pooled_projection_dim: size('vector_in.in_layer.weight', 1),
    guidance_embeds: shapes.has('guidance_in.in_layer.weight'),
    axes_dims_rope: [16, 56, 56],
  };
}
