/**
 * Chroma (Lodestone Rock, 2025), Diffusers' `ChromaTransformer2DModel`: FLUX.1 without its modulation layers.
 *
 * Notation: D = heads · head dim is the width; tokens are [text, image]. FLUX spends a third of its weights on making modulation
 * vectors from the time. Here one small network, the approximator, makes all of them at once: it is given the time and the number
 * of a slot, and each block reads the slots that its place in the model gives it.
 */
import { DejaDitError } from '../../../errors/errors.ts';
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { jointAttention, type QkNorm } from '../../../nn/attention/attention.ts';
import {
  type AttentionInputs,
  attentionInputs,
  attentionOptions,
  attentionTensors,
} from '../../../nn/attention/attention-inputs.ts';
import { type KeyMask, maskRows, tokenMask } from '../../../nn/attention/attention-mask.ts';
import { sinusoidalEmbedding, textProjection } from '../../../nn/embeddings.ts';
import { feedForward, linear } from '../../../nn/linear.ts';
import { sublayerModulations } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { modulatedLayerNorm, rmsNorm } from '../../../nn/norms.ts';
import { rotaryTables } from '../../../nn/rotary.ts';
import { dualStreamBlock, singleStreamBlock } from '../../../nn/stream-blocks.ts';
import { floatTensor, rows, Tensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import { type FluxSizes, fluxInputs, fluxPositions, fluxSizes, packedTraits } from '../flux/flux-family.ts';
import { chromaNames } from './chroma-names.ts';

interface ChromaConfig extends FluxSizes {
  outChannels: number;
  approximator: { channels: number; width: number; layers: number };
}

type ChromaState = AttentionInputs & {
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  /** The approximator's vectors [B, slots, D]. */
  slots: SymbolicTensor;
};

const qkNorm: QkNorm = { kind: 'rms_norm', epsilon: 1e-6 };

export const chromaTransformer = defineTransformer<ChromaConfig, ChromaState>({
  className: 'ChromaTransformer2DModel',
  separateCfg: true,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['distilled_guidance_layer.**'],
  originalNames: chromaNames,

  parseConfig(config) {
    config.requires('patch_size', 1);
    const sizes = fluxSizes(config);
    return {
      ...sizes,
      outChannels: config.outChannels(sizes.inChannels),
      approximator: {
        channels: config.count('approximator_num_channels', 64),
        width: config.integer('approximator_hidden_dim', 5120),
        layers: config.count('approximator_layers', 5),
      },
    };
  },

  traits: packedTraits,

  inputs: (config) => [
    ...fluxInputs(config),
    { name: 'attention_mask', kind: 'bool', shape: ['batch', 'tokens'], optional: true },
  ],

  prepare({ img_ids, txt_ids, attention_mask, ...tensors }, { axesDim }, inputs) {
    const positions = fluxPositions({ img_ids, txt_ids });
    if (attention_mask && attention_mask.shape[1] !== positions.length) {
      throw new DejaDitError(
        'SHAPE_MISMATCH',
        `shape [${attention_mask.shape}], expected [batch, ${positions.length}]: text and image tokens together`,
        { path: 'attention_mask' },
      );
    }
    const rotary = rotaryTables(positions, { axesDim, theta: 10000 });
    const given = inputs.attention_mask;
    const isWeights = given instanceof Tensor && given.dtype !== 'bool' && !given.dtype.includes('int');
    const mask = attention_mask && (isWeights ? outerBias(given) : tokenMask(maskRows(attention_mask)));
    return { tensors: { ...tensors, ...attentionTensors(rotary, mask) } };
  },

  prologue(m, inputs, config) {
    return {
      hidden_states: linear(m.at('x_embedder'), inputs.hidden_states!, config.width),
      encoder_hidden_states: linear(m.at('context_embedder'), inputs.encoder_hidden_states!, config.width),
      slots: approximator(m.at('distilled_guidance_layer'), inputs.timestep!.mul(1000), config),
      ...attentionInputs(inputs),
    };
  },

  // The mask is over text and image tokens together.
  smallestCalls: () => [{ sizes: { tokens: 2 } }],

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 1,
      count: config.doubleBlocks,
      block: (m, state, { index }) => doubleBlock(m, state, index, config),
    },
    {
      name: 'single_transformer_blocks',
      pattern: 3,
      count: config.singleBlocks,
      enter: (_, { hidden_states, encoder_hidden_states }) => ({
        hidden_states: concat([encoder_hidden_states, hidden_states], 1),
      }),
      block: (m, state, { index }) => singleBlock(m, state, index, config),
    },
  ],

  epilogue(m, { hidden_states, encoder_hidden_states, slots }, { outChannels }) {
    const image = hidden_states.slice(1, encoder_hidden_states.dim(1));
    const [shift, scale] = slots.slice(1, -2).chunk(2, 1);
    return linear(m.at('proj_out'), modulatedLayerNorm(image, { shift, scale }), outChannels);
  },
});

/**
 * A mask of floats [B, T], which Diffusers multiplies with itself and attention then adds to its scores: what is kept is seen more, what
 * is masked not hidden. Chroma's own pipeline passes such a one.
 */
function outerBias(mask: Tensor): KeyMask<Tensor> {
  const products = rows(mask.float()).flatMap((row) => row.flatMap((query) => row.map((key) => query * key)));
  return { bias: floatTensor(products, [mask.dim(0), mask.dim(1), mask.dim(1)]) };
}

/** Slots are laid out as [single blocks, image of double blocks, text of double blocks, output norm]. */
const slotsOf = ({ singleBlocks, doubleBlocks }: ChromaConfig) => ({
  single: (index: number) => 3 * index,
  image: (index: number) => 3 * singleBlocks + 6 * index,
  text: (index: number) => 3 * singleBlocks + 6 * doubleBlocks + 6 * index,
  count: 3 * singleBlocks + 12 * doubleBlocks + 2,
});

/** Text and image keep their own weights and meet in attention. */
const doubleBlock = layer((m, state: ChromaState, index: number, config: ChromaConfig): Partial<ChromaState> => {
  const { hidden_states, encoder_hidden_states, slots } = state;
  const { heads, width } = config;
  const stream = (x: SymbolicTensor, first: number, name: string) => ({
    x,
    modulations: sublayerModulations(slots.slice(1, first, first + 6).chunk(6, 1), 2),
    feedForward: (normed: SymbolicTensor) =>
      feedForward(m.at(name), normed, { activation: 'gelu-approximate', inner: 4 * width }),
  });
  return dualStreamBlock({
    image: stream(hidden_states, slotsOf(config).image(index), 'ff'),
    text: stream(encoder_hidden_states, slotsOf(config).text(index), 'ff_context'),
    attend: (normed) =>
      jointAttention(m.at('attn'), { ...normed, heads, qkNorm, first: 'text', ...attentionOptions(state) }),
  });
});

/** The joined sequence [text, image] through attention and MLP side by side. */
const singleBlock = layer((m, state: ChromaState, index: number, config: ChromaConfig): Partial<ChromaState> => {
  const first = slotsOf(config).single(index);
  const [modulation] = sublayerModulations(state.slots.slice(1, first, first + 3).chunk(3, 1), 1);
  const { heads, width } = config;
  const options = { modulation, inner: 4 * width, heads, qkNorm, ...attentionOptions(state) };
  return { hidden_states: singleStreamBlock(m, state.hidden_states, options) };
});

/** The network that makes every modulation vector of the model from the time and the slot's number: [B, slots, D]. */
const approximator = layer((m, timestep: SymbolicTensor, config: ChromaConfig): SymbolicTensor => {
  const { channels, width, layers } = config.approximator;
  const { count } = slotsOf(config);
  const numbers = timestep.graph.constant(floatTensor(Array.from({ length: count }, (_, slot) => 1000 * slot)));
  const everySlot = (features: SymbolicTensor) =>
    features.unsqueeze(1).expand([timestep.dim(0), count, features.dim(-1)]);
  const slotFeatures = sinusoidalEmbedding(numbers, { dim: channels / 2 }).unsqueeze(0);

  const features = [
    everySlot(sinusoidalEmbedding(timestep, { dim: channels / 4 })),
    // The guidance scale of FLUX, always 0.
    everySlot(sinusoidalEmbedding(timestep.mul(0), { dim: channels / 4 })),
    slotFeatures.expand([timestep.dim(0), count, channels / 2]),
  ];
  let x = linear(m.at('in_proj'), concat(features, -1), width);
  for (let i = 0; i < layers; i++) {
    // PyTorch's default epsilon, the spacing of float32 at 1.
    const normed = rmsNorm(m.at(`norms.${i}`), x, 2 ** -23);
    x = x.add(textProjection(m.at(`layers.${i}`), normed, 'silu', width));
  }
  return linear(m.at('out_proj'), x, config.width);
});
