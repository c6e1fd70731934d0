/**
 * FLUX.1's ControlNet (Zhang et al. 2023, arXiv 2302.05543), Diffusers' `FluxControlNetModel`: a shorter FLUX that sees a picture beside
 * the latents; what its blocks return is added, each through a projection, to what those of the transformer return. One net may know
 * several kinds of pictures ("union"), of which a call names one.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { concat } from '../../graph/ops.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { attentionInputs, attentionTensors } from '../../nn/attention/attention-inputs.ts';
import { conditionEmbedding, embedding } from '../../nn/embeddings.ts';
import { type FluxState, fluxDoubleBlock, fluxSingleBlock } from '../../nn/flux-blocks.ts';
import { linear } from '../../nn/linear.ts';
import { rotaryTables } from '../../nn/rotary.ts';
import { floatTensor, rows, type Tensor } from '../../tensor/tensor.ts';
import { defineModel } from '../graph-model.ts';

interface FluxControlNetConfig {
  inChannels: number;
  doubleBlocks: number;
  singleBlocks: number;
  heads: number;
  width: number;
  textWidth: number;
  pooledWidth: number;
  guidance: boolean;
  axesDim: readonly number[];
  /** Kinds of pictures, where it knows several. */
  modes: number | undefined;
}

export const fluxControlNet = defineModel<FluxControlNetConfig>({
  className: 'FluxControlNetModel',

  parseConfig(config) {
    config.requires('patch_size', 1);
    // XLabs' nets see pixels.
    config.requires('conditioning_embedding_channels', null);
    const heads = config.count('num_attention_heads', 24);
    return {
      inChannels: config.integer('in_channels', 64),
      doubleBlocks: config.layers('num_layers', 19),
      singleBlocks: config.layers('num_single_layers', 38),
      heads,
      width: heads * config.count('attention_head_dim', 128),
      textWidth: config.integer('joint_attention_dim', 4096),
      pooledWidth: config.integer('pooled_projection_dim', 768),
      guidance: config.boolean('guidance_embeds', false),
      axesDim: config.counts('axes_dims_rope', [16, 56, 56]),
      modes: config.nullable('num_mode', (name) => config.count(name)),
    };
  },

  functions: {
    /** Outputs: `controlnet_block_samples.<i>` and `controlnet_single_block_samples.<i>`, [B, image tokens, width]. */
    forward: {
      inputs: ({ inChannels, textWidth, pooledWidth, guidance, axesDim, modes }) => [
        { name: 'hidden_states', kind: 'float', shape: ['batch', 'image_tokens', inChannels] },
        { name: 'controlnet_cond', kind: 'float', shape: ['batch', 'image_tokens', inChannels] },
        ...(modes === undefined ? [] : [{ name: 'controlnet_mode', kind: 'int', shape: ['batch', 1] } as const]),
        { name: 'conditioning_scale', kind: 'other', optional: true },
        { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
        { name: 'pooled_projections', kind: 'float', shape: ['batch', pooledWidth] },
        { name: 'timestep', kind: 'float', shape: ['batch'] },
        { name: 'img_ids', kind: 'float', shape: ['image_tokens', axesDim.length] },
        { name: 'txt_ids', kind: 'float', shape: ['text_tokens', axesDim.length] },
        { name: 'guidance', kind: 'float', shape: ['batch'], optional: !guidance },
      ],

      prepare({ img_ids, txt_ids, guidance, ...tensors }, config, { conditioning_scale: scale = 1 }) {
        if (typeof scale !== 'number')
          throw new DejaDitError('INVALID_ARGUMENT', 'expected a number', { path: 'conditioning_scale' });
        checkModes(tensors.controlnet_mode, config.modes);
        const text = rows(txt_ids!);
        const ids = [...(config.modes === undefined ? [] : text.slice(0, 1)), ...text, ...rows(img_ids!)];
        const rotary = rotaryTables(ids, { axesDim: config.axesDim, theta: 10000 });
        return {
          tensors: {
            ...tensors,
            scale: floatTensor([scale]),
            ...(config.guidance ? { guidance: guidance! } : {}),
            ...attentionTensors(rotary),
          },
        };
      },

      build(m, inputs, config) {
        const { heads, width, doubleBlocks, singleBlocks, modes } = config;
        const picture = linear(m.at('controlnet_x_embedder'), inputs.controlnet_cond!, width);
        const text = linear(m.at('context_embedder'), inputs.encoder_hidden_states!, width);
        const mode =
          modes === undefined
            ? []
            : [embedding(m.at('controlnet_mode_embedder'), inputs.controlnet_mode!, { count: modes, width })];
        const conditions = {
          timestep: inputs.timestep!.mul(1000),
          guidance: inputs.guidance?.mul(1000),
          pooled: inputs.pooled_projections!,
        };
        let state: FluxState = {
          hidden_states: linear(m.at('x_embedder'), inputs.hidden_states!, width).add(picture),
          encoder_hidden_states: concat([...mode, text], 1),
          temb: conditionEmbedding(m.at('time_text_embed'), conditions, { width }),
          ...attentionInputs(inputs),
        };
        const outputs: Record<string, SymbolicTensor> = {};
        const lists = [
          { name: 'transformer_blocks', projections: 'controlnet_blocks', count: doubleBlocks, block: fluxDoubleBlock },
          {
            name: 'single_transformer_blocks',
            projections: 'controlnet_single_blocks',
            count: singleBlocks,
            block: fluxSingleBlock,
          },
        ];
        for (const { name, projections, count, block } of lists) {
          const samples = projections.replace(/s$/, '_samples');
          for (let index = 0; index < count; index++) {
            state = { ...state, ...block(m.at(`${name}.${index}`), state, { heads, width, first: 'text' }) };
            const projected = linear(m.at(`${projections}.${index}`), state.hidden_states, width);
            outputs[`${samples}.${index}`] = projected.mul(inputs.scale!);
          }
        }
        return outputs;
      },
    },
  },
});

function checkModes(mode: Tensor | undefined, modes: number | undefined): void {
  if (!mode || modes === undefined) return;
  const wrong = Array.from(mode.data, Number).find((value) => value < 0 || value >= modes);
  if (wrong !== undefined)
    throw new DejaDitError('INVALID_ARGUMENT', `mode ${wrong}, expected 0 to ${modes - 1}`, {
      path: 'controlnet_mode',
    });
}
