/** The tensors of the KL autoencoder as latent diffusion named them, and FLUX's `ae.safetensors` after it. */
import { type NameTable, under, withoutKernel } from '../../../weights/names/name-table.ts';

/** @param levels of the pyramid: the decoder counted its own from the widest image on */
export function klNames(levels: number): NameTable {
  const each = Array.from({ length: levels }, (_, level) => ({
    ...resnet(`encoder.down.${level}.block.#`, `encoder.down_blocks.${level}.resnets.#`),
    [`encoder.down.${level}.downsample.conv`]: `encoder.down_blocks.${level}.downsamplers.0.conv`,
    ...resnet(`decoder.up.${levels - 1 - level}.block.#`, `decoder.up_blocks.${level}.resnets.#`),
    [`decoder.up.${levels - 1 - level}.upsample.conv`]: `decoder.up_blocks.${level}.upsamplers.0.conv`,
  }));
  return {
    'encoder.quant_conv': 'quant_conv',
    'decoder.post_quant_conv': 'post_quant_conv',
    ...(Object.assign({}, ...each) as NameTable),
    ...ends('encoder'),
    ...ends('decoder'),
  };
}

function ends(half: 'encoder' | 'decoder'): NameTable {
  const attention = `${half}.mid_block.attentions.0`;
  return {
    [`${half}.norm_out`]: `${half}.conv_norm_out`,
    ...resnet(`${half}.mid.block_1`, `${half}.mid_block.resnets.0`),
    ...resnet(`${half}.mid.block_2`, `${half}.mid_block.resnets.1`),
    [`${half}.mid.attn_1.norm`]: `${attention}.group_norm`,
    [`${half}.mid.attn_1.q`]: withoutKernel(`${attention}.to_q`),
    [`${half}.mid.attn_1.k`]: withoutKernel(`${attention}.to_k`),
    [`${half}.mid.attn_1.v`]: withoutKernel(`${attention}.to_v`),
    [`${half}.mid.attn_1.proj_out`]: withoutKernel(`${attention}.to_out.0`),
  };
}

function resnet(from: string, to: string): NameTable {
  const same = { norm1: 'norm1', conv1: 'conv1', norm2: 'norm2', conv2: 'conv2' };
  return under(from, to, { ...same, nin_shortcut: 'conv_shortcut' });
}
