/**
 * PixArt-α and PixArt-Σ (Chen et al., arXiv 2310.00426, 2403.04692), Diffusers' `PixArtTransformer2DModel`: DiT with text instead of
 * classes.
 *
 * Notation: D = heads · head dim is the width. Text enters through cross-attention between self-attention and feed-forward. One MLP of
 * the time embedding modulates all blocks, each of which adds its own learned table ("adaLN-single"). PixArt-α at 1024 pixels also
 * embeds the image's resolution and aspect ratio. The output has twice the latent's channels: noise and its learned variance.
 */
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attention } from '../../../nn/attention/attention.ts';
import { trimText } from '../../../nn/attention/attention-mask.ts';
import { conditionEmbedding, sinusoidalEmbedding, textProjection, timestepEmbedding } from '../../../nn/embeddings.ts';
import { type Activation, feedForward, linear } from '../../../nn/linear.ts';
import { adaLayerNormSingle, modulatedResidual, scaleShiftTable, sublayerModulations } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { modulatedLayerNorm } from '../../../nn/norms.ts';
import { patchEmbedding, patchGrid, unpatchify } from '../../../nn/patches.ts';
import { sincosPositions } from '../../../nn/sincos-positions.ts';
import { dims, type Tensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import { checkInputs, type ForwardInputs, type InputValue } from '../../inputs.ts';

interface PixArtConfig {
  inChannels: number;
  outChannels: number;
  blocks: number;
  heads: number;
  width: number;
  /** Width of the text encoder's states; undefined if they come projected. */
  captionWidth: number | undefined;
  crossWidth: number;
  patch: readonly [number, number];
  /** Edge of the latents that it was trained at. */
  sampleSize: number;
  interpolationScale: number;
  /** Whether resolution and aspect ratio are conditions. */
  sizeConditions: boolean;
  activation: Activation;
  attentionBias: boolean;
  normEpsilon: number;
}

type PixArtState = {
  hidden_states: SymbolicTensor;
  /** Projected text, the same for all blocks. */
  text: SymbolicTensor;
  text_bias?: SymbolicTensor;
  /** [B, D]. */
  temb: SymbolicTensor;
  /** What all blocks share of their modulation, [B, 6, D]. */
  shared_modulation: SymbolicTensor;
};

export const pixartTransformer = defineTransformer<PixArtConfig, PixArtState>({
  className: 'PixArtTransformer2DModel',
  separateCfg: false,
  tokens: { hidden_states: 1 },
  float32Modules: ['adaln_single.**'],

  parseConfig(config) {
    config.requires('norm_type', 'ada_norm_single');
    config.requires('norm_elementwise_affine', false);
    config.requires('attention_type', 'default');
    const heads = config.count('num_attention_heads', 16);
    const inChannels = config.integer('in_channels', 4);
    const patch = config.count('patch_size', 2);
    const sampleSize = config.integer('sample_size', 128, { min: patch });
    return {
      inChannels,
      outChannels: config.outChannels(inChannels, 8),
      blocks: config.layers('num_layers', 28),
      heads,
      width: heads * config.count('attention_head_dim', 72),
      captionWidth: config.nullable('caption_channels', (name) => config.integer(name)),
      crossWidth: config.integer('cross_attention_dim', 1152),
      patch: [patch, patch],
      sampleSize,
      interpolationScale:
        config.nullable('interpolation_scale', (name) => config.positive(name)) ??
        Math.max(Math.floor(sampleSize / 64), 1),
      sizeConditions:
        config.nullable('use_additional_conditions', (name) => config.boolean(name)) ?? sampleSize === 128,
      activation: config.choice('activation_fn', ['gelu-approximate', 'gelu', 'geglu'], 'gelu-approximate'),
      attentionBias: config.boolean('attention_bias', true),
      normEpsilon: config.positive('norm_eps', 1e-6),
    };
  },

  traits: ({ width, inChannels, outChannels, patch, sampleSize, captionWidth, crossWidth, sizeConditions }) => ({
    width,
    inChannels,
    outChannels,
    patch: [1, ...patch],
    sampleSize,
    textWidth: captionWidth ?? crossWidth,
    sizeConditions,
  }),

  inputs: ({ inChannels, captionWidth, crossWidth, sizeConditions }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'height', 'width'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', captionWidth ?? crossWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'encoder_attention_mask', kind: 'float', shape: ['batch', 'text_tokens'], optional: true },
    { name: 'added_cond_kwargs', kind: 'other', optional: !sizeConditions },
  ],

  prepare({ hidden_states, encoder_hidden_states, timestep, encoder_attention_mask }, config, inputs) {
    const grid = patchGrid('hidden_states', hidden_states!, config.patch);
    const { text, bias } = trimText(encoder_hidden_states!, encoder_attention_mask);
    return {
      tensors: {
        hidden_states: hidden_states!,
        timestep: timestep!,
        text,
        ...(bias ? { text_bias: bias } : {}),
        ...(config.sizeConditions ? sizeConditions(inputs, hidden_states!.dim(0)) : {}),
        positions: sincosPositions(grid, { ...config, baseSize: Math.floor(config.sampleSize / config.patch[0]) }),
      },
      statics: { grid },
    };
  },

  prologue(m, { hidden_states, timestep, text, text_bias, resolution, aspect_ratio, positions }, config) {
    const { patch, width, captionWidth } = config;
    const conditioning = m.at('adaln_single');
    let temb = conditionEmbedding(conditioning.at('emb'), { timestep: timestep! }, { width });
    if (resolution && aspect_ratio) {
      // Height, width and their ratio share the width of temb in equal thirds.
      const third = (name: string, values: SymbolicTensor) => {
        const [batch, count] = dims(values, 2);
        const features = sinusoidalEmbedding(values.reshape([-1]), { dim: 256 });
        const embedded = timestepEmbedding(conditioning.at(`emb.${name}`), features, width / 3);
        return embedded.reshape([batch, (count * width) / 3]);
      };
      const size = [third('resolution_embedder', resolution), third('aspect_ratio_embedder', aspect_ratio)];
      temb = temb.add(concat(size, 1));
    }
    return {
      hidden_states: patchEmbedding(m.at('pos_embed'), hidden_states!, { patch, width }).add(positions!),
      text:
        captionWidth === undefined
          ? text!
          : textProjection(m.at('caption_projection'), text!, 'gelu-approximate', width),
      ...(text_bias ? { text_bias } : {}),
      temb,
      shared_modulation: adaLayerNormSingle(conditioning, temb, 6),
    };
  },

  smallestCalls: ({ patch: [height, width], sizeConditions }, ones) => {
    const added_cond_kwargs = { resolution: ones([1, 2]), aspect_ratio: ones([1, 1]) };
    return [{ sizes: { height, width }, inputs: sizeConditions ? { added_cond_kwargs } : {} }];
  },

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 3,
      count: config.blocks,
      block: (m, state) => pixartBlock(m, state, config),
    },
  ],

  epilogue(m, { hidden_states, temb }, { patch, outChannels }, { grid }) {
    const [shift, scale] = scaleShiftTable(m, temb, 2);
    const normed = modulatedLayerNorm(hidden_states, { shift, scale });
    const patches = linear(m.at('proj_out'), normed, patch[0] * patch[1] * outChannels);
    return unpatchify(patches, { grid: grid as number[], patch });
  },
});

const pixartBlock = layer((m, state: PixArtState, config: PixArtConfig): Partial<PixArtState> => {
  const { text, text_bias, shared_modulation } = state;
  const { heads, width, activation, attentionBias: projectionBias, normEpsilon: epsilon } = config;
  const [ofAttention, ofMlp] = sublayerModulations(scaleShiftTable(m, shared_modulation, 6), 2);

  let x = modulatedResidual(state.hidden_states, {
    modulation: ofAttention,
    epsilon,
    sublayer: (normed) => attention(m.at('attn1'), normed, { heads, projectionBias }),
  });
  x = x.add(attention(m.at('attn2'), x, { heads, projectionBias, context: text, mask: { bias: text_bias } }));
  x = modulatedResidual(x, {
    modulation: ofMlp,
    epsilon,
    sublayer: (normed) => feedForward(m.at('ff'), normed, { activation, inner: 4 * width }),
  });
  return { hidden_states: x };
});

/** Checks and unpacks `added_cond_kwargs`: resolution [B, 2] as (height, width), and aspect ratio [B, 1]. */
function sizeConditions(inputs: ForwardInputs, batch: number): Record<string, Tensor> {
  const given = (inputs.added_cond_kwargs ?? {}) as Record<string, InputValue>;
  const at = (name: string) => `added_cond_kwargs.${name}`;
  const [resolution, aspectRatio] = [at('resolution'), at('aspect_ratio')];
  const checked = checkInputs(
    [
      { name: resolution, kind: 'float', shape: [batch, 2] },
      { name: aspectRatio, kind: 'float', shape: [batch, 1] },
    ],
    Object.fromEntries(Object.entries(given).map(([name, value]) => [at(name), value])),
  );
  return { resolution: checked[resolution]!, aspect_ratio: checked[aspectRatio]! };
}
