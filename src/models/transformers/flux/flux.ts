import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attentionInputs, attentionTensors } from '../../../nn/attention/attention-inputs.ts';
import { conditionEmbedding } from '../../../nn/embeddings.ts';
import type { FluxState } from '../../../nn/flux-blocks.ts';
import { linear } from '../../../nn/linear.ts';
import { modulatedOutput } from '../../../nn/modulation.ts';
import { rotaryTables } from '../../../nn/rotary.ts';
import { join } from '../../../tensor/slices.ts';
import { rows, type Shape, type Tensor } from '../../../tensor/tensor.ts';
import { type BlockList, defineTransformer } from '../../definition.ts';
import { checkTensorList, type ForwardInputs } from '../../inputs.ts';
import { fluxBlockLists } from './flux-lists.ts';
import { fluxNames } from './flux-names.ts';

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

/** With what a ControlNet adds to the image behind the blocks of each list, [samples, B, image tokens, D]. */
type ControlledState = FluxState & {
  controlnet_block_samples?: SymbolicTensor;
  controlnet_single_block_samples?: SymbolicTensor;
};

/** By list of blocks. */
const controls = {
  transformer_blocks: 'controlnet_block_samples',
  single_transformer_blocks: 'controlnet_single_block_samples',
} as const;

export const fluxTransformer = defineTransformer<FluxConfig, ControlledState>({
  className: 'FluxTransformer2DModel',
  separateCfg: false,
  tokens: {
    hidden_states: 1,
    encoder_hidden_states: 1,
    controlnet_block_samples: 2,
    controlnet_single_block_samples: 2,
  },
  float32Modules: ['time_text_embed.**'],
  originalNames: fluxNames,
  cacheGroups: [['transformer_blocks', 'single_transformer_blocks']],

  parseConfig(config) {
    config.requires('patch_size', 1);
    const heads = config.count('num_attention_heads', 24);
    const headDim = config.count('attention_head_dim', 128);
    const inChannels = config.integer('in_channels', 64);
    return {
      inChannels,
      outChannels: config.outChannels(inChannels),
      doubleBlocks: config.layers('num_layers', 19),
      singleBlocks: config.layers('num_single_layers', 38),
      heads,
      headDim,
      width: heads * headDim,
      textWidth: config.integer('joint_attention_dim', 4096),
      pooledWidth: config.integer('pooled_projection_dim', 768),
      guidance: config.boolean('guidance_embeds', false),
      axesDim: config.counts('axes_dims_rope', [16, 56, 56]),
    };
  },

  traits: ({ width, inChannels, outChannels, textWidth, guidance }) => ({
    width,
    inChannels,
    outChannels,
    patch: [1, 1, 1],
    textWidth,
    guidanceEmbedding: guidance,
  }),

  inputs: ({ inChannels, textWidth, pooledWidth, guidance, axesDim }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'image_tokens', inChannels] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'pooled_projections', kind: 'float', shape: ['batch', pooledWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'img_ids', kind: 'float', shape: ['image_tokens', axesDim.length] },
    { name: 'txt_ids', kind: 'float', shape: ['text_tokens', axesDim.length] },
    { name: 'guidance', kind: 'float', shape: ['batch'], optional: !guidance },
    ...Object.values(controls).map((name) => ({ name, kind: 'other', optional: true }) as const),
  ],

  /** Rotary angles depend on the positions alone: text sits at position 0, image tokens at (0, row, column). */
  prepare({ img_ids, txt_ids, guidance, ...tensors }, config, inputs) {
    const rotary = rotaryTables([...rows(txt_ids!), ...rows(img_ids!)], { axesDim: config.axesDim, theta: 10000 });
    return {
      tensors: {
        ...tensors,
        ...(config.guidance ? { guidance: guidance! } : {}),
        ...attentionTensors(rotary),
        ...controlTensors(inputs, [...tensors.hidden_states!.shape.slice(0, 2), config.width]),
      },
    };
  },

  prologue(m, inputs, { width }) {
    const temb = conditionEmbedding(
      m.at('time_text_embed'),
      {
        timestep: inputs.timestep!.mul(1000),
        guidance: inputs.guidance?.mul(1000),
        pooled: inputs.pooled_projections!,
      },
      { width },
    );
    return {
      hidden_states: linear(m.at('x_embedder'), inputs.hidden_states!, width),
      encoder_hidden_states: linear(m.at('context_embedder'), inputs.encoder_hidden_states!, width),
      temb,
      ...attentionInputs(inputs),
      ...Object.fromEntries(Object.values(controls).flatMap((name) => (inputs[name] ? [[name, inputs[name]]] : []))),
    };
  },

  blockLists: (config) => fluxBlockLists({ ...config, pattern: 1, first: 'text' }).map(controlled),

  epilogue: (m, { hidden_states, temb }, { outChannels: outFeatures }) =>
    modulatedOutput(m, hidden_states, { temb, outFeatures }),
});

/** A ControlNet's samples, those of each list as one tensor. @param shape of a sample */
function controlTensors(inputs: ForwardInputs, shape: Shape): Record<string, Tensor> {
  const given = Object.values(controls).filter((name) => inputs[name] !== undefined && inputs[name] !== null);
  const stacked = (name: string) =>
    join(
      checkTensorList(name, inputs[name], shape).map((sample) => sample.reshape([1, ...shape])),
      0,
    );
  return Object.fromEntries(given.map((name) => [name, stacked(name)]));
}

/** Fewer samples than blocks are for as many blocks in a row each. */
function controlled(list: BlockList<FluxState>): BlockList<ControlledState> {
  const name = controls[list.name as keyof typeof controls];
  return {
    ...list,
    block: (m, state, context) => {
      const changes = list.block(m, state, context);
      const samples = state[name];
      if (!samples) return changes;
      const sample = Math.floor(context.index / Math.ceil(list.count / samples.dim(0)));
      const added = samples.slice(0, sample, sample + 1).squeeze(0);
      return { ...changes, hidden_states: changes.hidden_states!.add(added) };
    },
  };
}
