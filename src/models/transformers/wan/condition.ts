/**
 * What Wan's blocks attend to besides the video: text, and in image-to-video models the states of an image encoder before it, which
 * have keys and values of their own.
 */

import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attend, projectQkv, type QkNorm } from '../../../nn/attention/attention.ts';
import { feedForward, linear } from '../../../nn/linear.ts';
import { layer } from '../../../nn/module.ts';
import { layerNorm, rmsNorm } from '../../../nn/norms.ts';
import { dims } from '../../../tensor/tensor.ts';
import type { WanConfig } from './wan.ts';

/** Of queries and keys, in all of Wan's attention. */
export const qkNorm = ({ epsilon }: WanConfig): QkNorm => ({ kind: 'rms_norm_across_heads', epsilon });

/** In a condition of image and text, as Diffusers tells them apart, text is the last 512 tokens. */
export const TEXT_TOKENS = 512;

/** With fewer tokens in all, Diffusers slices at a negative index, which Python counts from the end: some of the image passes for text. */
function imageTokensOf(tokens: number): number {
  const at = tokens - TEXT_TOKENS;
  return Math.max(0, at < 0 ? tokens + at : at);
}

/** Attention to the text, plus attention of the same queries to the image where the model has keys for it. */
export const conditionAttention = layer(
  (m, x: SymbolicTensor, condition: SymbolicTensor, config: WanConfig): SymbolicTensor => {
    const { heads, width, imageKeys, epsilon } = config;
    const imageTokens = imageKeys ? imageTokensOf(condition.dim(1)) : 0;
    const text = projectQkv(m, x, { heads, qkNorm: qkNorm(config), context: condition.slice(1, imageTokens) });
    let out = attend({ ...text, heads });
    if (imageTokens > 0) {
      const image = condition.slice(1, 0, imageTokens);
      const key = rmsNorm(m.at('norm_added_k'), linear(m.at('add_k_proj'), image, width), epsilon);
      out = out.add(attend({ query: text.query, key, value: linear(m.at('add_v_proj'), image, width), heads }));
    }
    return linear(m.at('to_out.0'), out, width);
  },
);

/** States of the image encoder [B, tokens, imageWidth] → [B, tokens, D]. */
export const imageEmbedding = layer(
  (m, image: SymbolicTensor, { width, imageWidth, imagePositions }: WanConfig): SymbolicTensor => {
    let tokens = image;
    if (imagePositions !== undefined) {
      // First and last frame lie one after the other in the batch, and become one sequence.
      const [images, length, channels] = dims(image, 3);
      tokens = image
        .reshape([images / 2, 2 * length, channels])
        .add(m.weight('pos_embed', [1, imagePositions, channels]));
    }
    const hidden = feedForward(m.at('ff'), layerNorm(m.at('norm1'), tokens, 1e-5), {
      activation: 'gelu',
      inner: imageWidth!,
      out: width,
    });
    return layerNorm(m.at('norm2'), hidden, 1e-5);
  },
);
