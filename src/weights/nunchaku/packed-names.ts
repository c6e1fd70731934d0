/**
 * What Nunchaku calls the layers that it has packed, beside Diffusers' names: of FLUX.1 as its files have them and as its later classes
 * do, and of Qwen-Image. Other families are laid out in ways of their own, and are not read.
 */

/** Layers that lie in the rows of one packed layer, or one that lies in the columns of several. */
export interface PackedTarget {
  /** Diffusers' modules, in the order of the rows. */
  readonly into: readonly string[];
  /** Whether its inputs come out of a GELU, which lets Nunchaku shift them until none is negative. */
  readonly afterGelu?: boolean;
  /** Of a modulation: how many numbers each channel gets, which lie side by side in its rows. */
  readonly splits?: number;
}

const one = 'single_transformer_blocks.#';
const two = 'transformer_blocks.#';

const own = (block: string, prefix = 'attn'): Record<'qkv' | 'added', PackedTarget> => ({
  qkv: { into: ['to_q', 'to_k', 'to_v'].map((name) => `${block}.${prefix}.${name}`) },
  added: { into: ['add_q_proj', 'add_k_proj', 'add_v_proj'].map((name) => `${block}.${prefix}.${name}`) },
});
const { qkv, added } = own(two);

export const packedLayers: Readonly<Record<string, PackedTarget>> = {
  [`${one}.norm.linear`]: { into: [`${one}.norm.linear`], splits: 3 },
  [`${one}.qkv_proj`]: own(one).qkv,
  [`${one}.attn.to_qkv`]: own(one).qkv,
  [`${one}.mlp_fc1`]: { into: [`${one}.proj_mlp`] },
  [`${one}.out_proj`]: { into: [`${one}.proj_out`] },
  [`${one}.attn.to_out`]: { into: [`${one}.proj_out`] },
  [`${one}.mlp_fc2`]: { into: [`${one}.proj_out`], afterGelu: true },
  [`${two}.norm1.linear`]: { into: [`${two}.norm1.linear`], splits: 6 },
  [`${two}.norm1_context.linear`]: { into: [`${two}.norm1_context.linear`], splits: 6 },
  [`${two}.qkv_proj`]: qkv,
  [`${two}.qkv_proj_context`]: added,
  [`${two}.out_proj`]: { into: [`${two}.attn.to_out.0`] },
  [`${two}.out_proj_context`]: { into: [`${two}.attn.to_add_out`] },
  [`${two}.mlp_fc1`]: { into: [`${two}.ff.net.0.proj`] },
  [`${two}.mlp_fc2`]: { into: [`${two}.ff.net.2`], afterGelu: true },
  [`${two}.mlp_context_fc1`]: { into: [`${two}.ff_context.net.0.proj`] },
  [`${two}.mlp_context_fc2`]: { into: [`${two}.ff_context.net.2`], afterGelu: true },
  [`${two}.attn.to_qkv`]: qkv,
  [`${two}.attn.add_qkv_proj`]: added,
  [`${two}.attn.to_out.0`]: { into: [`${two}.attn.to_out.0`] },
  [`${two}.attn.to_add_out`]: { into: [`${two}.attn.to_add_out`] },
  [`${two}.ff.net.0.proj`]: { into: [`${two}.ff.net.0.proj`] },
  [`${two}.ff.net.2`]: { into: [`${two}.ff.net.2`], afterGelu: true },
  [`${two}.ff_context.net.0.proj`]: { into: [`${two}.ff_context.net.0.proj`] },
  [`${two}.ff_context.net.2`]: { into: [`${two}.ff_context.net.2`], afterGelu: true },
  [`${two}.img_mod.1`]: { into: [`${two}.img_mod.1`], splits: 6 },
  [`${two}.txt_mod.1`]: { into: [`${two}.txt_mod.1`], splits: 6 },
  [`${two}.img_mlp.net.0.proj`]: { into: [`${two}.img_mlp.net.0.proj`] },
  [`${two}.img_mlp.net.2`]: { into: [`${two}.img_mlp.net.2`], afterGelu: true },
  [`${two}.txt_mlp.net.0.proj`]: { into: [`${two}.txt_mlp.net.0.proj`] },
  [`${two}.txt_mlp.net.2`]: { into: [`${two}.txt_mlp.net.2`], afterGelu: true },
};

/** The norms that Nunchaku takes out of the attention. */
export function plainName(name: string): string {
  return name.replace(/^((?:single_)?transformer_blocks\.\d+)\.(norm_(?:added_)?[qk]\.)/, '$1.attn.$2');
}
