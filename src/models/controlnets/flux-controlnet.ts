/**
 * FLUX.1's ControlNet (Zhang et al. 2023, arXiv 2302.05543), Diffusers' `FluxControlNetModel`: a shorter FLUX that sees a picture beside
 * the latents; what its blocks return is added, each through a projection, to what those of the transformer return. One net may know
 * several kinds of pictures ("union"), of which a call names one. XLabs' nets see pixels, through convolutions of their own.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { concat } from '../../graph/ops.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { attentionInputs, attentionTensors } from '../../nn/attention/attention-inputs.ts';
import { convolution } from '../../nn/conv.ts';
import { conditionEmbedding, embedding } from '../../nn/embeddings.ts';
import { type FluxState, fluxDoubleBlock, fluxSingleBlock } from '../../nn/flux-blocks.ts';
import { linear } from '../../nn/linear.ts';
import type { Module } from '../../nn/module.ts';
import { patchify } from '../../nn/patches.ts';
import { rotaryTables } from '../../nn/rotary.ts';
import { lastDims, rows, type Tensor } from '../../tensor/tensor.ts';
import { defineModel } from '../graph-model.ts';
import { readScale, scaled } from './scale.ts';
import { nameTokens, tokensOfBlocks } from './tokens.ts';

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
  /** Where it sees pixels: the channels that it makes of them, and the edge of a token in those. */
  pixels: { channels: number; patch: number } | undefined;
}

export const fluxControlNet = defineModel<FluxControlNetConfig>({
  className: 'FluxControlNetModel',

  parseConfig(config) {
    const channels = config.nullable('conditioning_embedding_channels', (name) => config.count(name));
    if (channels === undefined) config.requires('patch_size', 1);
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
      pixels: channels === undefined ? undefined : { channels, patch: config.count('patch_size', 1) },
    };
  },

  tokens: tokensOfBlocks,

  functions: {
    /** Outputs: `controlnet_block_samples.<i>` and `controlnet_single_block_samples.<i>`, [B, image tokens, width]. */
    forward: {
      inputs: ({ inChannels, textWidth, pooledWidth, guidance, axesDim, modes, pixels }) => [
        { name: 'hidden_states', kind: 'float', shape: ['batch', 'image_tokens', inChannels] },
        {
          name: 'controlnet_cond',
          kind: 'float',
          shape: pixels ? ['batch', 3, 'height', 'width'] : ['batch', 'image_tokens', inChannels],
        },
        ...(modes === undefined ? [] : [{ name: 'controlnet_mode', kind: 'int', shape: ['batch', 1] } as const]),
        { name: 'conditioning_scale', kind: 'other', optional: true },
        { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
        { name: 'pooled_projections', kind: 'float', shape: ['batch', pooledWidth] },
        { name: 'timestep', kind: 'float', shape: ['batch'] },
        { name: 'img_ids', kind: 'float', shape: ['image_tokens', axesDim.length] },
        { name: 'txt_ids', kind: 'float', shape: ['text_tokens', axesDim.length] },
        { name: 'guidance', kind: 'float', shape: ['batch'], optional: !guidance },
      ],

      prepare({ img_ids, txt_ids, guidance, ...tensors }, config, inputs) {
        if (config.pixels) checkPixels(tensors.controlnet_cond!, img_ids!.dim(0), config.pixels);
        checkModes(tensors.controlnet_mode, config.modes);
        const text = rows(txt_ids!);
        const ids = [...(config.modes === undefined ? [] : text.slice(0, 1)), ...text, ...rows(img_ids!)];
        const rotary = rotaryTables(ids, { axesDim: config.axesDim, theta: 10000 });
        return {
          tensors: {
            ...tensors,
            scale: readScale(inputs),
            ...(config.guidance ? { guidance: guidance! } : {}),
            ...attentionTensors(rotary),
          },
        };
      },

      smallestCalls: ({ pixels }) =>
        pixels ? [{ sizes: { height: 8 * pixels.patch, width: 8 * pixels.patch } }] : [{}],

      build(m, inputs, config) {
        const { heads, width, doubleBlocks, singleBlocks, modes } = config;
        const seen = config.pixels
          ? hintTokens(m.at('input_hint_block'), inputs.controlnet_cond!, config.pixels)
          : inputs.controlnet_cond!;
        const picture = linear(m.at('controlnet_x_embedder'), seen, width);
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
        nameTokens(m, state);
        const run = (names: { blocks: string; projections: string }, count: number, block: typeof fluxDoubleBlock) =>
          Array.from({ length: count }, (_, i) => {
            state = { ...state, ...block(m.at(`${names.blocks}.${i}`), state, { heads, width, first: 'text' }) };
            return linear(m.at(`${names.projections}.${i}`), state.hidden_states, width);
          });
        const double = { blocks: 'transformer_blocks', projections: 'controlnet_blocks' };
        const single = { blocks: 'single_transformer_blocks', projections: 'controlnet_single_blocks' };
        const samples = {
          controlnet_block_samples: run(double, doubleBlocks, fluxDoubleBlock),
          controlnet_single_block_samples: run(single, singleBlocks, fluxSingleBlock),
        };
        return scaled(samples, inputs.scale!);
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

type Pixels = NonNullable<FluxControlNetConfig['pixels']>;

/** A token for each square of 8 · patch pixels. */
function checkPixels(picture: Tensor, tokens: number, { patch }: Pixels): void {
  const [height, width] = lastDims(picture, 2);
  const edge = 8 * patch;
  if (height % edge === 0 && width % edge === 0 && (height / edge) * (width / edge) === tokens) return;
  throw new DejaDitError('SHAPE_MISMATCH', `shape [${picture.shape}], expected ${tokens} squares of ${edge}² pixels`, {
    path: 'controlnet_cond',
  });
}

/** Diffusers' `ControlNetConditioningEmbedding`: pixels [B, 3, H, W] through three halvings into tokens. */
function hintTokens(m: Module, pixels: SymbolicTensor, { channels, patch }: Pixels): SymbolicTensor {
  const at = (name: string, x: SymbolicTensor, outChannels: number, stride = 1) =>
    convolution(m.at(name), x, { outChannels, kernel: 3, padding: 1, stride });
  let x = at('conv_in', pixels, 16).silu();
  for (let i = 0; i < 6; i++) x = at(`blocks.${i}`, x, 16, 1 + (i % 2)).silu();
  return patchify(at('conv_out', x, channels), [patch, patch], 'first');
}
