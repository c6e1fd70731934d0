import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attentionInputs, attentionTensors } from '../../../nn/attention/attention-inputs.ts';
import { conditionEmbedding } from '../../../nn/embeddings.ts';
import type { FluxState } from '../../../nn/flux-blocks.ts';
import { linear } from '../../../nn/linear.ts';
import { modulatedOutput } from '../../../nn/modulation.ts';
import {
  controlled,
  controlSpecs,
  controlState,
  controlTensors,
  inRuns,
  type SampleChoice,
} from '../../controlnets/control-samples.ts';
import { defineTransformer } from '../../definition.ts';
import { type FluxSizes, fluxInputs, fluxRotary, fluxSizes, packedTraits } from './flux-family.ts';
import { fluxBlockLists } from './flux-lists.ts';
import { fluxNames } from './flux-names.ts';

interface FluxConfig extends FluxSizes {
  outChannels: number;
  pooledWidth: number;
  guidance: boolean;
}

/** With what a ControlNet adds behind the blocks of each list. */
type ControlledState = FluxState & {
  controlnet_block_samples?: SymbolicTensor;
  controlnet_single_block_samples?: SymbolicTensor;
};

const controls = ['controlnet_block_samples', 'controlnet_single_block_samples'] as const;

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
    const sizes = fluxSizes(config);
    return {
      ...sizes,
      outChannels: config.outChannels(sizes.inChannels),
      pooledWidth: config.integer('pooled_projection_dim', 768),
      guidance: config.boolean('guidance_embeds', false),
    };
  },

  traits: (config) => ({ ...packedTraits(config), guidanceEmbedding: config.guidance }),

  inputs: ({ pooledWidth, guidance, ...sizes }) => [
    ...fluxInputs(sizes),
    { name: 'pooled_projections', kind: 'float', shape: ['batch', pooledWidth] },
    { name: 'guidance', kind: 'float', shape: ['batch'], optional: !guidance },
    ...controlSpecs(controls),
    { name: 'controlnet_blocks_repeat', kind: 'other', optional: true },
  ],

  /** Rotary angles depend on the positions alone: text sits at position 0, image tokens at (0, row, column). */
  prepare({ img_ids, txt_ids, guidance, ...tensors }, config, inputs) {
    const rotary = fluxRotary({ img_ids, txt_ids }, { axesDim: config.axesDim });
    return {
      tensors: {
        ...tensors,
        ...(config.guidance ? { guidance: guidance! } : {}),
        ...attentionTensors(rotary),
        ...controlTensors(controls, inputs, [...tensors.hidden_states!.shape.slice(0, 2), config.width]),
      },
      ...(inputs['controlnet_blocks_repeat'] === true ? { statics: { controlRepeats: true } } : {}),
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
      ...controlState(controls, inputs),
    };
  },

  blockLists: (config) => {
    const [double, single] = fluxBlockLists({ ...config, pattern: 1, first: 'text' });
    return [
      controlled<ControlledState>(double!, { name: controls[0], choice: inTurns }),
      controlled<ControlledState>(single!, { name: controls[1] }),
    ];
  },

  epilogue: (m, { hidden_states, temb }, { outChannels: outFeatures }) =>
    modulatedOutput(m, hidden_states, { temb, outFeatures }),
});

/** The samples of XLabs' nets take turns. */
const inTurns: SampleChoice = (index, numbers) =>
  numbers.statics['controlRepeats'] ? index % numbers.samples : inRuns(index, numbers);
