/** What a file of another program is, told by the names of a few of its tensors: so that it can be said, and a missing config found. */

import { DejaDitError } from '../../errors/errors.ts';
import { parseLoraName } from '../lora/lora-names.ts';

export interface KnownFile {
  /** As people call it. */
  readonly title: string;
  /** Diffusers' class; undefined for what is not run. */
  readonly className?: string;
  /** What to take instead of what is not run. */
  readonly remedy?: string;
  /** Names that the file has, without a prefix; the first of the list whose names are all there is it. */
  readonly names: readonly RegExp[];
}

const known: readonly KnownFile[] = [
  {
    title: 'FLUX.1, packed by Nunchaku (SVDQuant)',
    className: 'FluxTransformer2DModel',
    names: [/^single_transformer_blocks\.0\.mlp_fc1\.qweight$/],
  },
  {
    title: 'Qwen-Image, packed by Nunchaku (SVDQuant)',
    className: 'QwenImageTransformer2DModel',
    names: [/^transformer_blocks\.0\.attn\.to_qkv\.qweight$/, /^transformer_blocks\.0\.img_mlp\./],
  },
  { title: 'packed by Nunchaku (SVDQuant) for its CUDA kernels', names: [/\.qweight$/, /\.wscales$/] },
  {
    title: "a ControlNet for FLUX.1 in XLabs' names",
    remedy: 'take its conversion to Diffusers, a folder or repository with config.json',
    names: [/^input_hint_block\.0\./, /^controlnet_blocks\.0\./, /^double_blocks\.0\./],
  },
  {
    title: 'an IP-adapter for FLUX.1',
    names: [/^(double_blocks\.0\.processor\.)?ip_adapter_(double_stream|proj_model)/],
  },
  {
    title: 'a ControlNet for FLUX.1',
    className: 'FluxControlNetModel',
    names: [/^controlnet_x_embedder\./, /^x_embedder\./],
  },
  {
    title: 'a ControlNet for Qwen-Image',
    className: 'QwenImageControlNetModel',
    names: [/^controlnet_x_embedder\./, /^img_in\./],
  },
  {
    title: 'a ControlNet for Stable Diffusion 3',
    className: 'SD3ControlNetModel',
    names: [/^pos_embed_input\./, /^controlnet_blocks\.0\./],
  },
  { title: 'a UNet of Stable Diffusion', names: [/^input_blocks\.0\.0\.weight$/] },
  {
    title: "a UNet in Diffusers' names",
    className: 'UNet2DConditionModel',
    names: [/^down_blocks\.0\.(attentions|resnets)\./, /^time_embedding\./],
  },
  { title: 'an upscaler (ESRGAN)', names: [/^(model\.1\.sub|conv_first\.weight|body\.0\.rdb1)/] },
  {
    title: 'Chroma',
    className: 'ChromaTransformer2DModel',
    names: [/^double_blocks\.0\.img_attn\.qkv\./, /^distilled_guidance_layer\.in_proj\./],
  },
  {
    title: 'FLUX.2',
    className: 'Flux2Transformer2DModel',
    names: [/^double_blocks\.0\.img_attn\.qkv\./, /^double_stream_modulation_img\.lin\./],
  },
  {
    title: 'FLUX.1',
    className: 'FluxTransformer2DModel',
    names: [/^double_blocks\.0\.img_attn\.qkv\./, /^single_blocks\.0\.linear1\./, /^vector_in\./],
  },
  {
    title: 'HunyuanVideo',
    className: 'HunyuanVideoTransformer3DModel',
    names: [/^double_blocks\.0\.img_attn_?\.?qkv\./, /^txt_in\.individual_token_refiner\./],
  },
  { title: 'AuraFlow', className: 'AuraFlowTransformer2DModel', names: [/^double_layers\.0\.attn\.w1q\./] },
  {
    title: 'Stable Diffusion 3',
    className: 'SD3Transformer2DModel',
    names: [/^joint_blocks\.0\.(context|x)_block\.attn\.qkv\./],
  },
  {
    title: 'Wan',
    className: 'WanTransformer3DModel',
    names: [/^blocks\.0\.self_attn\.q\./, /^patch_embedding\./, /^head\.head\./],
  },
  {
    title: 'Z-Image',
    className: 'ZImageTransformer2DModel',
    names: [/^layers\.0\.attention\.qkv\./, /^cap_pad_token$/],
  },
  {
    title: 'Lumina 2',
    className: 'Lumina2Transformer2DModel',
    names: [/^layers\.0\.attention\.qkv\./, /^cap_embedder\.1\./],
  },
  {
    title: 'Qwen-Image',
    className: 'QwenImageTransformer2DModel',
    names: [/^transformer_blocks\.0\.img_mod\.1\./, /^txt_norm\.weight$/],
  },
  {
    title: 'LTX-Video',
    className: 'LTXVideoTransformer3DModel',
    names: [/^transformer_blocks\.0\.scale_shift_table$/, /^patchify_proj\./],
  },
  { title: 'an autoencoder (AutoencoderKL)', className: 'AutoencoderKL', names: [/^decoder\.mid\.attn_1\./] },
  { title: 'CLIP', className: 'CLIPTextModel', names: [/^(text_model\.)?embeddings\.token_embedding\./] },
  { title: 'T5', className: 'T5EncoderModel', names: [/^encoder\.block\.0\.layer\.0\.SelfAttention\./] },
];

/** @throws DejaDitError UNSUPPORTED naming what a file is, if that is known and not run */
export function requireRunnable(names: Iterable<string>, path: string): void {
  const found = recogniseFile(names);
  if (!found || found.className !== undefined) return;
  const instead = found.remedy === undefined ? '' : `; ${found.remedy}`;
  throw new DejaDitError('UNSUPPORTED', `is ${found.title}, which is not run as a model${instead}`, { path });
}

/** What tensors of these names are, without a prefix. */
export function recogniseFile(names: Iterable<string>): KnownFile | undefined {
  const all = [...names];
  if (all.length > 0 && all.every((name) => parseLoraName(name))) return { title: 'a LoRA', names: [] };
  return known.find((file) => file.names.every((pattern) => all.some((name) => pattern.test(name))));
}
