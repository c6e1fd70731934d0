/**
 * Bria FIBO (Bria AI, 2025, arXiv 2511.06876), Diffusers' `BriaFiboTransformer2DModel`: FLUX's blocks on long structured captions.
 *
 * Notation: D = heads · head dim is the width; tokens are [text, image]. Every block gets another layer of the language model: before
 * block i, the second half of the text's channels becomes a projection of its i-th state ("DimFusion"). The time is as the
 * scheduler counts it, from 0 to 1000.
 */

import { DejaDitError } from '../../../errors/errors.ts';
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attentionInputs, attentionTensors } from '../../../nn/attention/attention-inputs.ts';
import { type KeyMask, keyMask, maskRows } from '../../../nn/attention/attention-mask.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { type FluxState, fluxDoubleBlock, fluxSingleBlock } from '../../../nn/flux-blocks.ts';
import { linear } from '../../../nn/linear.ts';
import { modulatedOutput } from '../../../nn/modulation.ts';
import { join } from '../../../tensor/slices.ts';
import { dims, Tensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import { checkTensorList, type InputValue } from '../../inputs.ts';
import { type FluxSizes, fluxInputs, fluxRotary, fluxSizes, packedTraits } from '../flux/flux-family.ts';

interface BriaFiboConfig extends FluxSizes {
  outChannels: number;
  layerWidth: number;
  guidance: boolean;
  theta: number;
  timeTheta: number;
}

type BriaFiboState = FluxState & {
  /** What each block puts into the text, [blocks, B, T, D / 2]. */
  captions: SymbolicTensor;
};

export const briaFiboTransformer = defineTransformer<BriaFiboConfig, BriaFiboState>({
  className: 'BriaFiboTransformer2DModel',
  separateCfg: false,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['time_embed.**', 'guidance_embed.**'],

  parseConfig(config) {
    const sizes = fluxSizes(config);
    return {
      ...sizes,
      outChannels: config.count('patch_size', 1) ** 2 * sizes.inChannels,
      layerWidth: config.integer('text_encoder_dim', 2048),
      guidance: config.boolean('guidance_embeds', false),
      theta: config.positive('rope_theta', 10000),
      timeTheta: config.positive('time_theta', 10000),
    };
  },

  traits: (config) => ({
    ...packedTraits(config),
    textLayers: config.doubleBlocks + config.singleBlocks,
    guidanceEmbedding: config.guidance,
  }),

  inputs: ({ guidance, ...sizes }) => [
    ...fluxInputs(sizes),
    { name: 'text_encoder_layers', kind: 'other' },
    ...(guidance ? [{ name: 'guidance', kind: 'float', shape: ['batch'] } as const] : []),
    { name: 'joint_attention_kwargs', kind: 'other', optional: true },
  ],

  prepare({ img_ids, txt_ids, ...tensors }, config, inputs) {
    const { axesDim, theta, layerWidth, doubleBlocks, singleBlocks } = config;
    const [batch, tokens] = dims(tensors.encoder_hidden_states!, 3);
    const layers = captionLayers(inputs.text_encoder_layers!, [batch, tokens, doubleBlocks + singleBlocks, layerWidth]);
    const rotary = fluxRotary({ img_ids, txt_ids }, { axesDim, theta });
    const mask = givenMask(inputs.joint_attention_kwargs, [batch, tokens + tensors.hidden_states!.dim(1)]);
    return {
      tensors: {
        ...tensors,
        text_encoder_layers: layers,
        ...attentionTensors(rotary, mask),
      },
    };
  },

  prologue(m, inputs, { width, timeTheta }) {
    const embed = (name: string, value: SymbolicTensor) =>
      timestepEmbedding(
        m.at(`${name}.timestep_embedder`),
        sinusoidalEmbedding(value, { dim: 256, maxPeriod: timeTheta }),
        width,
      );
    const time = embed('time_embed', inputs.timestep!);
    const layers = inputs.text_encoder_layers!.transpose([2, 0, 1, 3]);
    const captions = layers
      .chunk<number>(layers.dim(0), 0)
      .map((layer, i) => linear(m.at(`caption_projection.${i}.linear`), layer, Math.floor(width / 2), { bias: false }));
    return {
      hidden_states: linear(m.at('x_embedder'), inputs.hidden_states!, width),
      encoder_hidden_states: linear(m.at('context_embedder'), inputs.encoder_hidden_states!, width),
      temb: inputs.guidance ? time.add(embed('guidance_embed', inputs.guidance)) : time,
      captions: concat(captions, 0),
      ...attentionInputs(inputs),
    };
  },

  smallestCalls: ({ doubleBlocks, singleBlocks, layerWidth }, ones) => [
    {
      inputs: {
        text_encoder_layers: Array.from({ length: doubleBlocks + singleBlocks }, () => ones([1, 1, layerWidth])),
      },
    },
  ],

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 1,
      count: config.doubleBlocks,
      block: (m, state, { index }) => fluxDoubleBlock(m, captioned(state, index), { ...config, first: 'text' }),
    },
    {
      name: 'single_transformer_blocks',
      pattern: 1,
      count: config.singleBlocks,
      block: (m, state, { index }) =>
        fluxSingleBlock(m, captioned(state, config.doubleBlocks + index), { ...config, first: 'text' }),
    },
  ],

  epilogue: (m, { hidden_states, temb }, { outChannels: outFeatures }) =>
    modulatedOutput(m, hidden_states, { temb, outFeatures }),
});

/** The states for all blocks, given as a list of [B, T, C] or as one tensor, as [B, T, blocks, C]. */
function captionLayers(value: InputValue, shape: readonly [number, number, number, number]): Tensor {
  const path = 'text_encoder_layers';
  const [batch, tokens, blocks, width] = shape;
  if (value instanceof Tensor) {
    if (String(value.shape) === String(shape)) return value.float();
    throw new DejaDitError('SHAPE_MISMATCH', `shape [${value.shape}], expected [${shape}]`, { path });
  }
  const layers = checkTensorList(path, value, [batch, tokens, width]);
  if (layers.length === blocks)
    return join(
      layers.map((layer) => layer.reshape([batch, tokens, 1, width])),
      2,
    );
  const message = `${layers.length} states, expected one for each of ${blocks} blocks`;
  throw new DejaDitError('INVALID_ARGUMENT', message, { path });
}

/** The state as a block sees it: with its caption in the text. */
function captioned({ captions, ...state }: BriaFiboState, block: number): FluxState {
  const caption = captions.slice(0, block, block + 1).squeeze(0);
  const kept = state.encoder_hidden_states.slice(-1, 0, caption.dim(-1));
  return { ...state, encoder_hidden_states: concat([kept, caption], -1) };
}

/** The mask over text and image tokens that the pipeline hands to attention, [B, 1, 1, S], of booleans. */
function givenMask(kwargs: InputValue, [batch, tokens]: readonly [number, number]): KeyMask<Tensor> | undefined {
  if (kwargs === undefined || kwargs === null) return undefined;
  const path = 'joint_attention_kwargs';
  const { attention_mask: mask, ...others } = kwargs as { [name: string]: InputValue };
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined)
    throw new DejaDitError('UNSUPPORTED', "only 'attention_mask' is", { path: `${path}.${unknown}` });
  if (!(mask instanceof Tensor)) return undefined;
  if (String(mask.shape) !== String([batch, 1, 1, tokens])) {
    throw new DejaDitError('SHAPE_MISMATCH', `shape [${mask.shape}], expected [${batch}, 1, 1, ${tokens}]`, {
      path: `${path}.attention_mask`,
    });
  }
  return keyMask(maskRows(mask.reshape([batch, tokens])));
}
