/** What the configs of both HunyuanVideo models say under the same names. */
import type { ConfigReader } from '../../config-reader.ts';

export interface HunyuanVideoSizes {
  inChannels: number;
  outChannels: number;
  refinerBlocks: number;
  heads: number;
  width: number;
  mlpWidth: number;
  patch: readonly [frames: number, height: number, width: number];
  textWidth: number;
  axesDim: readonly number[];
  theta: number;
}

/** @param defaults of the class; `patch` is a patch's edge */
export function hunyuanVideoSizes(
  config: ConfigReader,
  defaults: Pick<HunyuanVideoSizes, 'inChannels' | 'outChannels' | 'heads' | 'textWidth'> & { patch: number },
): HunyuanVideoSizes {
  config.requires('qk_norm', 'rms_norm');
  const heads = config.count('num_attention_heads', defaults.heads);
  const width = heads * config.count('attention_head_dim', 128);
  const inChannels = config.integer('in_channels', defaults.inChannels);
  const patch = config.count('patch_size', defaults.patch);
  return {
    inChannels,
    outChannels: config.outChannels(inChannels, defaults.outChannels),
    refinerBlocks: config.layers('num_refiner_layers', 2),
    heads,
    width,
    mlpWidth: Math.floor(width * config.positive('mlp_ratio', 4)),
    patch: [config.count('patch_size_t', 1), patch, patch],
    textWidth: config.integer('text_embed_dim', defaults.textWidth),
    axesDim: config.counts('rope_axes_dim', [16, 56, 56]),
    theta: config.positive('rope_theta', 256),
  };
}
