/**
 * The UNet of Stable Diffusion 1, 2 and XL and of what was distilled from them (Rombach et al., arXiv 2112.10752; SDXL, arXiv
 * 2307.01952), Diffusers' `UNet2DConditionModel`. No transformer, but called like one.
 *
 * A pyramid: every level has residual convolution blocks, with attention over pixels and text behind each where the level's name says
 * so, and halves the edges; on the way back each block takes what the block opposite has left in the state (`skip_0`, `skip_1`, …).
 * Blocks differ in width and in what they leave, so no block can stand for another: whole calls can be skipped, blocks cannot.
 */
import { concat, upsampleNearest } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attention } from '../../../nn/attention/attention.ts';
import { convolution } from '../../../nn/conv.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { feedForward, linear } from '../../../nn/linear.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { groupNorm, layerNorm } from '../../../nn/norms.ts';
import { dims } from '../../../tensor/tensor.ts';
import type { ConfigReader } from '../../config-reader.ts';
import { defineTransformer, type State } from '../../definition.ts';
import { checkInputs } from '../../inputs.ts';
import { type Level, parseUNetConfig, type UNetConfig } from './unet2d-config.ts';

type UNetState = State & {
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  /** [B, 4 · width of the first level]. */
  temb: SymbolicTensor;
};

export const unet2D = defineTransformer<UNetConfig, UNetState>({
  className: 'UNet2DConditionModel',
  separateCfg: false,
  tokens: 'is made of convolutions, each of which looks at the pixels around its own',
  float32Modules: ['time_embedding.**', 'add_embedding.**'],
  cacheGroups: [],
  parseConfig: (config: ConfigReader) => parseUNetConfig(config),
  traits: ({ levels, inChannels, outChannels, sampleSize, textWidth, guidanceWidth }) => ({
    width: levels[0]!.width,
    inChannels,
    outChannels,
    patch: [1, 1, 1],
    textWidth,
    ...(sampleSize === undefined ? {} : { sampleSize }),
    ...(guidanceWidth === undefined ? {} : { guidanceFeatures: guidanceWidth }),
  }),

  inputs: ({ inChannels, textWidth, guidanceWidth, added }) => [
    { name: 'sample', kind: 'float', shape: ['batch', inChannels, 'height', 'width'] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    ...(guidanceWidth === undefined
      ? []
      : [{ name: 'timestep_cond', kind: 'float', shape: ['batch', guidanceWidth], optional: true } as const]),
    ...(added === undefined ? [] : [{ name: 'added_cond_kwargs', kind: 'other' } as const]),
  ],

  prepare({ sample, ...conditions }, { added }, { added_cond_kwargs }) {
    // What moves from step to step has one name in all models.
    const tensors = { ...conditions, hidden_states: sample! };
    if (!added) return { tensors };
    const batch = sample!.dim(0);
    const given = Object.entries((added_cond_kwargs ?? {}) as Record<string, never>);
    const dotted = Object.fromEntries(given.map(([name, value]) => [`added_cond_kwargs.${name}`, value]));
    const { textWidth, ids } = added;
    const checked = checkInputs(
      [
        { name: 'added_cond_kwargs.text_embeds', kind: 'float', shape: [batch, textWidth] },
        { name: 'added_cond_kwargs.time_ids', kind: 'float', shape: [batch, ids] },
      ],
      dotted,
    );
    const [text_embeds, time_ids] = Object.values(checked);
    return { tensors: { ...tensors, text_embeds: text_embeds!, time_ids: time_ids! } };
  },

  prologue(m, inputs, config) {
    const { encoder_hidden_states } = inputs;
    const hidden_states = conv3x3(m.at('conv_in'), inputs.hidden_states!, config.levels[0]!.width);
    return {
      hidden_states,
      encoder_hidden_states: encoder_hidden_states!,
      temb: conditioning(m, inputs, config),
      skip_0: hidden_states,
    };
  },

  blockLists: (config) => [
    {
      name: 'down_blocks',
      pattern: 0,
      count: config.levels.length,
      block: (m, state, { index }) => downBlock(m, state, { config, index }),
      leave: (m, state) => ({ hidden_states: middle(m.at('mid_block'), state, config) }),
    },
    {
      name: 'up_blocks',
      pattern: 0,
      count: config.levels.length,
      block: (m, state, { index }) => upBlock(m, state, { config, index }),
    },
  ],

  epilogue(m, { hidden_states }, { groups, epsilon, outChannels }) {
    return conv3x3(
      m.at('conv_out'),
      groupNorm(m.at('conv_norm_out'), hidden_states, groups, epsilon).silu(),
      outChannels,
    );
  },

  smallestCalls: ({ levels, added }, ones) => {
    const edge = 2 ** (levels.length - 1);
    const embeddings = added && { text_embeds: ones([1, added.textWidth]), time_ids: ones([1, added.ids]) };
    return [{ sizes: { height: edge, width: edge }, ...(embeddings && { inputs: { added_cond_kwargs: embeddings } }) }];
  },
});

/** Time, the guidance that a distilled model was told, and SDXL's pooled text and sizes, [B, D]. */
function conditioning(
  m: Module,
  inputs: State,
  { levels, timeWidth, flipSinToCos, guidanceWidth, added }: UNetConfig,
): SymbolicTensor {
  const width = levels[0]!.width;
  const { timestep, timestep_cond, text_embeds, time_ids } = inputs;
  let features = sinusoidalEmbedding(timestep!, { dim: width, flipSinToCos });
  if (guidanceWidth !== undefined && timestep_cond) {
    features = features.add(linear(m.at('time_embedding.cond_proj'), timestep_cond, width, { bias: false }));
  }
  const temb = timestepEmbedding(m.at('time_embedding'), features, timeWidth);
  if (!added) return temb;
  const [batch, count] = dims(time_ids!, 2);
  const sizes = sinusoidalEmbedding(time_ids!.reshape([batch * count]), { dim: added.features, flipSinToCos });
  const joined = concat([text_embeds!, sizes.reshape([batch, count * added.features])], 1);
  return temb.add(timestepEmbedding(m.at('add_embedding'), joined, timeWidth));
}

interface Place {
  config: UNetConfig;
  index: number;
}

/** Number of tensors that the levels before this one have left behind. */
const skipsBefore = (levels: readonly Level[], index: number) =>
  1 + levels.slice(0, index).reduce((sum, { layers }) => sum + layers + 1, 0);

const downBlock = layer((m, state: UNetState, { config, index }: Place): Partial<UNetState> => {
  const level = config.levels[index]!;
  const changes: Record<string, SymbolicTensor> = {};
  let next = skipsBefore(config.levels, index);
  let x = state.hidden_states;
  for (let i = 0; i < level.layers; i++) {
    x = resnet(m.at(`resnets.${i}`), x, { ...config, width: level.width, temb: state.temb });
    if (level.attention) x = pixelAttention(m.at(`attentions.${i}`), x, { state, level, config });
    changes[`skip_${next++}`] = x;
  }
  if (index < config.levels.length - 1) {
    const options = { outChannels: level.width, kernel: 3, stride: 2, padding: config.downsamplePadding };
    x = convolution(m.at('downsamplers.0.conv'), x, options);
    changes[`skip_${next}`] = x;
  }
  return { ...changes, hidden_states: x };
});

const middle = layer((m, state: UNetState, config: UNetConfig): SymbolicTensor => {
  const level = config.levels.at(-1)!;
  const options = { ...config, width: level.width, temb: state.temb };
  const x = resnet(m.at('resnets.0'), state.hidden_states, options);
  const attended = pixelAttention(m.at('attentions.0'), x, { state, level: { ...level, ...config.middle }, config });
  return resnet(m.at('resnets.1'), attended, options);
});

const upBlock = layer((m, state: UNetState, { config, index }: Place): Partial<UNetState> => {
  const opposite = config.levels.length - 1 - index;
  const level = { ...config.levels[opposite]!, ...config.up[index]! };
  // The last level left none for its edges, which it did not halve.
  let next = skipsBefore(config.levels, opposite) + level.layers - 1;
  let x = state.hidden_states;
  for (let i = 0; i <= level.layers; i++) {
    const joined = concat([x, state[`skip_${next--}`]!], 1);
    x = resnet(m.at(`resnets.${i}`), joined, { ...config, width: level.width, temb: state.temb });
    if (level.attention) x = pixelAttention(m.at(`attentions.${i}`), x, { state, level, config });
  }
  if (opposite > 0) {
    // Where an edge was odd, halving it rounded up.
    const [, , height, width] = dims(state[`skip_${next}`]!, 4);
    const doubled = upsampleNearest(x, [2, 2]).slice(2, 0, height).slice(3, 0, width);
    x = conv3x3(m.at('upsamplers.0.conv'), doubled, level.width);
  }
  return { hidden_states: x };
});

interface ResnetOptions extends Pick<UNetConfig, 'groups' | 'epsilon'> {
  width: number;
  temb: SymbolicTensor;
}

/** Two convolutions, the second of which hears the time; a third for the way around where the width changes. */
const resnet = layer((m, x: SymbolicTensor, { width, groups, epsilon, temb }: ResnetOptions): SymbolicTensor => {
  const first = conv3x3(m.at('conv1'), groupNorm(m.at('norm1'), x, groups, epsilon).silu(), width);
  const time = linear(m.at('time_emb_proj'), temb.silu(), width).unsqueeze(2).unsqueeze(3);
  const hidden = groupNorm(m.at('norm2'), first.add(time), groups, epsilon).silu();
  const around = x.dim(1) === width ? x : convolution(m.at('conv_shortcut'), x, { outChannels: width, kernel: 1 });
  return around.add(conv3x3(m.at('conv2'), hidden, width));
});

interface PixelAttentionOptions {
  state: UNetState;
  level: Level;
  config: UNetConfig;
}

/** Pixels as tokens through a few transformer blocks: Diffusers' `Transformer2DModel` of continuous inputs. x [B, C, H, W]. */
const pixelAttention = layer((m, x: SymbolicTensor, { state, level, config }: PixelAttentionOptions) => {
  const [batch, channels, height, width] = dims(x, 4);
  const tokens = (y: SymbolicTensor) => y.reshape([batch, channels, height * width]).transpose([0, 2, 1]);
  const pixels = (y: SymbolicTensor) => y.transpose([0, 2, 1]).reshape([batch, channels, height, width]);
  const pointwise = { outChannels: channels, kernel: 1 };
  const { linearProjection, groups } = config;
  const normed = groupNorm(m.at('norm'), x, groups, 1e-6);
  let hidden = linearProjection
    ? linear(m.at('proj_in'), tokens(normed), channels)
    : tokens(convolution(m.at('proj_in'), normed, pointwise));
  for (let i = 0; i < level.transformerLayers; i++) {
    hidden = tokenBlock(m.at(`transformer_blocks.${i}`), hidden, { text: state.encoder_hidden_states, level });
  }
  const out = linearProjection
    ? pixels(linear(m.at('proj_out'), hidden, channels))
    : convolution(m.at('proj_out'), pixels(hidden), pointwise);
  return x.add(out);
});

/** Diffusers' `BasicTransformerBlock`: among pixels, to the text, feed-forward. */
const tokenBlock = layer((m, x: SymbolicTensor, { text, level }: { text: SymbolicTensor; level: Level }) => {
  const options = { heads: level.heads, projectionBias: false };
  const among = x.add(attention(m.at('attn1'), layerNorm(m.at('norm1'), x, 1e-5), options));
  const told = among.add(
    attention(m.at('attn2'), layerNorm(m.at('norm2'), among, 1e-5), { ...options, context: text }),
  );
  const inner = 4 * x.dim(-1);
  return told.add(feedForward(m.at('ff'), layerNorm(m.at('norm3'), told, 1e-5), { activation: 'geglu', inner }));
});

function conv3x3(m: Module, x: SymbolicTensor, outChannels: number): SymbolicTensor {
  return convolution(m, x, { outChannels, kernel: 3, padding: 1 });
}
