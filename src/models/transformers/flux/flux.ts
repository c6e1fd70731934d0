/**
 * FLUX.1 (Black Forest Labs, 2024), Diffusers' `FluxTransformer2DModel`: a rectified-flow transformer that reads text and
 * image as one sequence.
 *
 * Notation: D = heads · head dim is the width; tokens are always [text, image]. Image latents arrive packed, 2×2 pixels a token.
 * The first blocks ("double") keep separate weights for the two streams and meet only in attention; the last ("single")
 * treat the joined sequence alike. Every block is modulated by `temb`, the sum of time, guidance and pooled-text embeddings.
 */
import { concat, multiHeadAttention } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { sinusoidalEmbedding, textProjection, timestepEmbedding } from '../../../nn/embeddings.ts';
import { feedForward, linear } from '../../../nn/linear.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { adaLayerNormContinuous, headRmsNorm, modulatedLayerNorm, modulation } from '../../../nn/norms.ts';
import { applyRotary, type Rotary, rotaryTables } from '../../../nn/rotary.ts';
import { rows } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';

interface FluxConfig {
  inChannels: number;
  outChannels: number;
  doubleBlocks: number;
  singleBlocks: number;
  heads: number;
  headDim: number;
  width: number;
  textWidth: number;
  pooledWidth: number;
  guidance: boolean;
  axesDim: readonly number[];
}

type FluxState = {
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
  rotary_cos: SymbolicTensor;
  rotary_sin: SymbolicTensor;
};

const rotaryOf = (state: FluxState): Rotary => ({ cos: state.rotary_cos, sin: state.rotary_sin });

export const fluxTransformer = defineTransformer<FluxConfig, FluxState>({
  className: 'FluxTransformer2DModel',
  separateCfg: false,
  cacheGroups: [['transformer_blocks', 'single_transformer_blocks']],

  parseConfig(config) {
    config.requires('patch_size', 1);
    const heads = config.integer('num_attention_heads', 24);
    const headDim = config.integer('attention_head_dim', 128);
    const inChannels = config.integer('in_channels', 64);
    return {
      inChannels,
      outChannels: config.nullable('out_channels', (name) => config.integer(name)) ?? inChannels,
      doubleBlocks: config.integer('num_layers', 19),
      singleBlocks: config.integer('num_single_layers', 38),
      heads,
      headDim,
      width: heads * headDim,
      textWidth: config.integer('joint_attention_dim', 4096),
      pooledWidth: config.integer('pooled_projection_dim', 768),
      guidance: config.boolean('guidance_embeds', false),
      axesDim: config.integers('axes_dims_rope', [16, 56, 56]),
    };
  },

  inputs: ({ inChannels, textWidth, pooledWidth, guidance, axesDim }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'image_tokens', inChannels] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'pooled_projections', kind: 'float', shape: ['batch', pooledWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'img_ids', kind: 'float', shape: ['image_tokens', axesDim.length] },
    { name: 'txt_ids', kind: 'float', shape: ['text_tokens', axesDim.length] },
    { name: 'guidance', kind: 'float', shape: ['batch'], optional: !guidance },
  ],

  /** Rotary angles depend on the positions alone: text sits at position 0, image tokens at (0, row, column). */
  prepare({ img_ids, txt_ids, guidance, ...tensors }, config) {
    const { cos, sin } = rotaryTables([...rows(txt_ids!), ...rows(img_ids!)], {
      axesDim: config.axesDim,
      theta: 10000,
    });
    return {
      tensors: { ...tensors, ...(config.guidance ? { guidance: guidance! } : {}), rotary_cos: cos, rotary_sin: sin },
    };
  },

  prologue(m, inputs, { width }) {
    const embed = m.at('time_text_embed');
    const scalarEmbedding = (name: string, value: SymbolicTensor) =>
      timestepEmbedding(embed.at(name), sinusoidalEmbedding(value.mul(1000), { dim: 256 }), width);
    let temb = scalarEmbedding('timestep_embedder', inputs.timestep!);
    if (inputs.guidance) temb = temb.add(scalarEmbedding('guidance_embedder', inputs.guidance));
    return {
      hidden_states: linear(m.at('x_embedder'), inputs.hidden_states!, width),
      encoder_hidden_states: linear(m.at('context_embedder'), inputs.encoder_hidden_states!, width),
      temb: temb.add(textProjection(embed.at('text_embedder'), inputs.pooled_projections!, 'silu')),
      rotary_cos: inputs.rotary_cos!,
      rotary_sin: inputs.rotary_sin!,
    };
  },

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 1,
      count: config.doubleBlocks,
      block: (m, state) => doubleBlock(m, state, config),
    },
    {
      name: 'single_transformer_blocks',
      pattern: 1,
      count: config.singleBlocks,
      block: (m, state) => singleBlock(m, state, config),
    },
  ],

  epilogue(m, { hidden_states, temb }, { outChannels }) {
    return linear(m.at('proj_out'), adaLayerNormContinuous(m.at('norm_out'), hidden_states, temb, 1e-6), outChannels);
  },
});

/** Both streams: modulate, attend to each other, modulate, feed forward; each step added through a gate. */
const doubleBlock = layer((m, state: FluxState, config: FluxConfig): Partial<FluxState> => {
  const { hidden_states, encoder_hidden_states, temb } = state;
  const image = blockModulation(m.at('norm1'), temb, config);
  const text = blockModulation(m.at('norm1_context'), temb, config);

  const attended = jointAttention(m.at('attn'), {
    image: modulatedLayerNorm(hidden_states, image.attention),
    text: modulatedLayerNorm(encoder_hidden_states, text.attention),
    rotary: rotaryOf(state),
    config,
  });

  const finish = (
    name: string,
    x: SymbolicTensor,
    attention: SymbolicTensor,
    { attentionGate, mlp, mlpGate }: BlockModulation,
  ) => {
    const afterAttention = x.add(attentionGate.mul(attention));
    const mlpOutput = feedForward(m.at(name), modulatedLayerNorm(afterAttention, mlp), {
      activation: 'gelu-approximate',
      inner: 4 * config.width,
    });
    return afterAttention.add(mlpGate.mul(mlpOutput));
  };
  return {
    hidden_states: finish('ff', hidden_states, attended.image, image),
    encoder_hidden_states: finish('ff_context', encoder_hidden_states, attended.text, text),
  };
});

/** The joined sequence through attention and MLP side by side, which share one norm and one output projection. */
const singleBlock = layer((m, state: FluxState, config: FluxConfig): Partial<FluxState> => {
  const { hidden_states, encoder_hidden_states, temb } = state;
  const joined = concat([encoder_hidden_states, hidden_states], 1);
  const [shift, scale, gate] = modulation(m.at('norm'), temb, 3, config.width) as [
    SymbolicTensor,
    SymbolicTensor,
    SymbolicTensor,
  ];
  const normed = modulatedLayerNorm(joined, { shift, scale });

  const mlp = linear(m.at('proj_mlp'), normed, 4 * config.width).gelu('tanh');
  const { query, key, value } = projectHeads(m.at('attn'), normed, { names: imageNames, config });
  const attention = attend({ query, key, value, rotary: rotaryOf(state), config });

  const out = joined.add(gate.mul(linear(m.at('proj_out'), concat([attention, mlp], -1), config.width)));
  const [text, image] = out.split(1, [encoder_hidden_states.dim(1), hidden_states.dim(1)]) as [
    SymbolicTensor,
    SymbolicTensor,
  ];
  return { hidden_states: image, encoder_hidden_states: text };
});

interface BlockModulation {
  attention: { shift: SymbolicTensor; scale: SymbolicTensor };
  attentionGate: SymbolicTensor;
  mlp: { shift: SymbolicTensor; scale: SymbolicTensor };
  mlpGate: SymbolicTensor;
}

function blockModulation(m: Module, temb: SymbolicTensor, { width }: FluxConfig): BlockModulation {
  const [shift, scale, attentionGate, mlpShift, mlpScale, mlpGate] = modulation(m, temb, 6, width) as [
    SymbolicTensor,
    SymbolicTensor,
    SymbolicTensor,
    SymbolicTensor,
    SymbolicTensor,
    SymbolicTensor,
  ];
  return { attention: { shift, scale }, attentionGate, mlp: { shift: mlpShift, scale: mlpScale }, mlpGate };
}

interface JointAttention {
  image: SymbolicTensor;
  text: SymbolicTensor;
  rotary: Rotary;
  config: FluxConfig;
}

const imageNames = { query: 'to_q', key: 'to_k', value: 'to_v', queryNorm: 'norm_q', keyNorm: 'norm_k' };
const textNames = {
  query: 'add_q_proj',
  key: 'add_k_proj',
  value: 'add_v_proj',
  queryNorm: 'norm_added_q',
  keyNorm: 'norm_added_k',
};

const jointAttention = layer((m, { image, text, rotary, config }: JointAttention) => {
  const ofText = projectHeads(m, text, { names: textNames, config });
  const ofImage = projectHeads(m, image, { names: imageNames, config });
  const out = attend({
    query: concat([ofText.query, ofImage.query], 1),
    key: concat([ofText.key, ofImage.key], 1),
    value: concat([ofText.value, ofImage.value], 1),
    rotary,
    config,
  });
  const [textOut, imageOut] = out.split(1, [text.dim(1), image.dim(1)]) as [SymbolicTensor, SymbolicTensor];
  return {
    image: linear(m.at('to_out.0'), imageOut, config.width),
    text: linear(m.at('to_add_out'), textOut, config.width),
  };
});

/** Query, key and value [B, S, D] of one stream; query and key are normalised per head. */
function projectHeads(
  m: Module,
  x: SymbolicTensor,
  { names, config }: { names: typeof imageNames; config: FluxConfig },
) {
  const { heads, width } = config;
  return {
    query: headRmsNorm(m.at(names.queryNorm), linear(m.at(names.query), x, width), heads, 1e-6),
    key: headRmsNorm(m.at(names.keyNorm), linear(m.at(names.key), x, width), heads, 1e-6),
    value: linear(m.at(names.value), x, width),
  };
}

interface Attend {
  query: SymbolicTensor;
  key: SymbolicTensor;
  value: SymbolicTensor;
  rotary: Rotary;
  config: FluxConfig;
}

function attend({ query, key, value, rotary, config: { heads } }: Attend): SymbolicTensor {
  return multiHeadAttention({
    query: applyRotary(query, rotary, heads),
    key: applyRotary(key, rotary, heads),
    value,
    numHeads: heads,
  });
}
