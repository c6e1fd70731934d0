/**
 * Sana (Xie et al., arXiv 2410.10629) and the distilled Sana-Sprint (arXiv 2503.09641), Diffusers' `SanaTransformer2DModel`: PixArt's
 * block with costs that grow linearly with the image.
 *
 * Notation: D = heads · head dim is the width. Self-attention is linear (a ReLU kernel, no softmax); the feed-forward is a gated
 * convolution ("GLUMBConv"), whose 3×3 kernel is all that tells tokens where they are: there are no position embeddings unless
 * `interpolation_scale` is given. Conditioning is PixArt's adaLN-single; Sprint embeds the guidance scale beside the time.
 */
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attention, linearAttention, projectQkv, type QkNorm } from '../../../nn/attention/attention.ts';
import { trimText } from '../../../nn/attention/attention-mask.ts';
import { convolution } from '../../../nn/conv.ts';
import { conditionEmbedding, textProjection } from '../../../nn/embeddings.ts';
import { linear } from '../../../nn/linear.ts';
import { adaLayerNormSingle, modulatedResidual, scaleShiftTable, sublayerModulations } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { modulatedLayerNorm, rmsNorm } from '../../../nn/norms.ts';
import { patchEmbedding, patchGrid, unpatchify } from '../../../nn/patches.ts';
import { sincosPositions } from '../../../nn/sincos-positions.ts';
import { defineTransformer } from '../../definition.ts';

interface SanaConfig {
  inChannels: number;
  outChannels: number;
  blocks: number;
  heads: number;
  width: number;
  crossHeads: number;
  /** Width of all cross-attention heads together. */
  crossInner: number;
  captionWidth: number;
  /** Width of the gated convolution. */
  mlpWidth: number;
  qkNorm: QkNorm | undefined;
  patch: readonly [number, number];
  /** Edge of the latents that it was trained at. */
  sampleSize: number;
  /** Undefined: no position embeddings. */
  interpolationScale: number | undefined;
  guidance: boolean;
  /** What pipelines multiply times and guidance scales with. */
  timestepScale: number;
  guidanceScale: number;
  /** Of self-attention; cross-attention always has biases. */
  attentionBias: boolean;
  normEpsilon: number;
}

type SanaState = {
  hidden_states: SymbolicTensor;
  /** Projected text, the same for all blocks. */
  text: SymbolicTensor;
  text_bias?: SymbolicTensor;
  /** [B, D]. */
  temb: SymbolicTensor;
  /** What all blocks share of their modulation, [B, 6, D]. */
  shared_modulation: SymbolicTensor;
};

type Grid = readonly [number, number];

export const sanaTransformer = defineTransformer<SanaConfig, SanaState>({
  className: 'SanaTransformer2DModel',
  separateCfg: false,
  tokens: { hidden_states: 1 },
  linearAttention: true,
  float32Modules: ['time_embed.**', 'transformer_blocks.*.attn1'],

  parseConfig(config) {
    config.requires('norm_elementwise_affine', false);
    const heads = config.count('num_attention_heads', 70);
    const width = heads * config.count('attention_head_dim', 32);
    // Queries are made of the stream, keys and values of the text, which is projected to the stream's width.
    config.requires('cross_attention_dim', width);
    const crossHeads = config.count('num_cross_attention_heads', 20);
    const inChannels = config.integer('in_channels', 32);
    const patch = config.count('patch_size', 1);
    const norm = config.nullable('qk_norm', (name) => config.choice(name, ['rms_norm_across_heads'] as const));
    return {
      inChannels,
      outChannels: config.outChannels(inChannels, 32),
      blocks: config.layers('num_layers', 20),
      heads,
      width,
      crossHeads,
      crossInner: crossHeads * config.count('cross_attention_head_dim', 112),
      captionWidth: config.integer('caption_channels', 2304),
      mlpWidth: Math.floor(config.positive('mlp_ratio', 2.5) * width),
      qkNorm: norm && { kind: norm, epsilon: 1e-5 },
      patch: [patch, patch],
      sampleSize: config.integer('sample_size', 32, { min: patch }),
      interpolationScale: config.nullable('interpolation_scale', (name) => config.positive(name)),
      guidance: config.boolean('guidance_embeds', false),
      timestepScale: config.positive('timestep_scale', 1),
      guidanceScale: config.positive('guidance_embeds_scale', 0.1),
      attentionBias: config.boolean('attention_bias', false),
      normEpsilon: config.positive('norm_eps', 1e-6),
    };
  },

  traits: ({
    width,
    inChannels,
    outChannels,
    patch,
    sampleSize,
    captionWidth,
    guidance,
    timestepScale,
    guidanceScale,
  }) => ({
    width,
    inChannels,
    outChannels,
    patch: [1, ...patch],
    sampleSize,
    textWidth: captionWidth,
    guidanceEmbedding: guidance,
    timestepScale,
    guidanceScale,
  }),

  inputs: ({ inChannels, captionWidth, guidance }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'height', 'width'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', captionWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'encoder_attention_mask', kind: 'float', shape: ['batch', 'text_tokens'], optional: true },
    { name: 'guidance', kind: 'float', shape: ['batch'], optional: !guidance },
  ],

  prepare({ hidden_states, encoder_hidden_states, timestep, encoder_attention_mask, guidance }, config) {
    const { patch, interpolationScale } = config;
    const grid = patchGrid('hidden_states', hidden_states!, patch);
    const { text, bias } = trimText(encoder_hidden_states!, encoder_attention_mask);
    return {
      tensors: {
        hidden_states: hidden_states!,
        timestep: timestep!,
        text,
        ...(bias ? { text_bias: bias } : {}),
        ...(config.guidance ? { guidance: guidance! } : {}),
        ...(interpolationScale === undefined
          ? {}
          : {
              positions: sincosPositions(grid, {
                ...config,
                interpolationScale,
                baseSize: Math.floor(config.sampleSize / config.patch[0]),
              }),
            }),
      },
      statics: { grid },
    };
  },

  prologue(m, { hidden_states, timestep, text, text_bias, guidance, positions }, { patch, width }) {
    const conditioning = m.at('time_embed');
    const embedder = guidance ? conditioning : conditioning.at('emb');
    const temb = conditionEmbedding(embedder, { timestep: timestep!, guidance }, { width });
    const patches = patchEmbedding(m.at('patch_embed'), hidden_states!, { patch, width });
    return {
      hidden_states: positions ? patches.add(positions) : patches,
      text: rmsNorm(
        m.at('caption_norm'),
        textProjection(m.at('caption_projection'), text!, 'gelu-approximate', width),
        1e-5,
      ),
      ...(text_bias ? { text_bias } : {}),
      temb,
      shared_modulation: adaLayerNormSingle(conditioning, temb, 6),
    };
  },

  smallestCalls: ({ patch: [height, width] }) => [{ sizes: { height, width } }],

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 3,
      count: config.blocks,
      block: (m, state, { statics }) => sanaBlock(m, state, { ...config, grid: statics.grid as Grid }),
    },
  ],

  epilogue(m, { hidden_states, temb }, { patch, outChannels }, { grid }) {
    const [shift, scale] = scaleShiftTable(m, temb, 2);
    const normed = modulatedLayerNorm(hidden_states, { shift, scale });
    const patches = linear(m.at('proj_out'), normed, patch[0] * patch[1] * outChannels);
    return unpatchify(patches, { grid: grid as Grid, patch });
  },
});

const sanaBlock = layer((m, state: SanaState, config: SanaConfig & { grid: Grid }): Partial<SanaState> => {
  const { text, text_bias, shared_modulation } = state;
  const { heads, width, crossHeads, crossInner, qkNorm, mlpWidth, attentionBias: projectionBias, grid } = config;
  const { normEpsilon: epsilon } = config;
  const [ofAttention, ofMlp] = sublayerModulations(scaleShiftTable(m, shared_modulation, 6), 2);

  let x = modulatedResidual(state.hidden_states, {
    modulation: ofAttention,
    epsilon,
    sublayer: (normed) => {
      const projected = projectQkv(m.at('attn1'), normed, { heads, qkNorm, projectionBias });
      const attended = linearAttention(m.at('attn1'), { ...projected, heads });
      return linear(m.at('attn1.to_out.0'), attended, width);
    },
  });
  x = x.add(
    attention(m.at('attn2'), x, {
      heads: crossHeads,
      inner: crossInner,
      context: text,
      qkNorm,
      mask: { bias: text_bias },
    }),
  );
  x = modulatedResidual(x, {
    modulation: ofMlp,
    epsilon,
    sublayer: (normed) => gatedConvolution(m.at('ff'), normed, { grid, inner: mlpWidth }),
  });
  return { hidden_states: x };
});

/**
 * GLUMBConv, an inverted bottleneck (MobileNetV2, arXiv 1801.04381) with a gate: widen, look at the 3×3 neighbours of each channel,
 * multiply one half with the other's SiLU, narrow. Tokens [B, rows · columns, D] in and out.
 */
const gatedConvolution = layer((m, x: SymbolicTensor, { grid, inner }: { grid: Grid; inner: number }) => {
  const width = x.dim(-1);
  const image = x.transpose([0, 2, 1]).reshape([x.dim(0), width, ...grid]);
  const wide = convolution(m.at('conv_inverted'), image, { outChannels: 2 * inner, kernel: 1 }).silu();
  const [value, gate] = convolution(m.at('conv_depth'), wide, {
    outChannels: 2 * inner,
    kernel: 3,
    padding: 1,
    groups: 2 * inner,
  }).chunk(2, 1);
  const out = convolution(m.at('conv_point'), value.mul(gate.silu()), { outChannels: width, kernel: 1, bias: false });
  return out.reshape([x.dim(0), width, -1]).transpose([0, 2, 1]);
});
