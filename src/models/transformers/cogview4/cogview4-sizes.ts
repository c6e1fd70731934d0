/** What the configs of CogView4 and of GLM-Image, which was made after it, say under the same names. */
import type { ConfigReader } from '../../config-reader.ts';

export interface CogView4Sizes {
  patchSize: number;
  inChannels: number;
  outChannels: number;
  blocks: number;
  heads: number;
  headDim: number;
  width: number;
  textWidth: number;
  timeWidth: number;
  conditionWidth: number;
}

/** @param defaults of the class */
export function cogView4Sizes(config: ConfigReader, defaults: Pick<CogView4Sizes, 'textWidth'>): CogView4Sizes {
  const heads = config.count('num_attention_heads', 64);
  const headDim = config.count('attention_head_dim', 40);
  return {
    patchSize: config.count('patch_size', 2),
    inChannels: config.integer('in_channels', 16),
    outChannels: config.integer('out_channels', 16),
    blocks: config.layers('num_layers', 30),
    heads,
    headDim,
    width: heads * headDim,
    textWidth: config.integer('text_embed_dim', defaults.textWidth),
    timeWidth: config.count('time_embed_dim', 512),
    conditionWidth: config.count('condition_dim', 256),
  };
}
