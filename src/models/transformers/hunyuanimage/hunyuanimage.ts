/**
 * HunyuanImage 2.1 (Tencent, 2025), Diffusers' `HunyuanImageTransformer2DModel`: HunyuanVideo's architecture for images.
 *
 * Notation: D = heads · head dim is the width; tokens are [image, text]. The states of a language model are refined by a small
 * transformer (`token-refiner.ts` of HunyuanVideo) before they join; words to be written into the picture come in letter by letter
 * from ByT5 and stand before them. Kept text tokens come first, and padding is not attended. Distilled models are told the guidance,
 * and with "mean flow" (arXiv 2505.13447) the time at which the step ends.
 */

import { DejaDitError } from '../../../errors/errors.ts';
import { concat, gather } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attentionInputs, attentionTensors } from '../../../nn/attention/attention-inputs.ts';
import { keyMask, maskRows } from '../../../nn/attention/attention-mask.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import type { FluxState } from '../../../nn/flux-blocks.ts';
import { modulatedOutput } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { patchEmbedding, patchGrid, unpatchify } from '../../../nn/patches.ts';
import { gridPositions, rotaryTables } from '../../../nn/rotary.ts';
import { intTensor } from '../../../tensor/tensor.ts';
import { defineTransformer, type State } from '../../definition.ts';
import { fluxBlockLists } from '../flux/flux-lists.ts';
import { refinedText, refinerTensors } from '../hunyuanvideo/token-refiner.ts';
import { glyphProjection } from './glyphs.ts';

interface HunyuanImageConfig {
  inChannels: number;
  outChannels: number;
  doubleBlocks: number;
  singleBlocks: number;
  refinerBlocks: number;
  heads: number;
  width: number;
  mlpWidth: number;
  /** Along rows and columns, or frames, rows and columns. */
  patch: readonly number[];
  textWidth: number;
  glyphWidth: number | undefined;
  guidance: boolean;
  meanFlow: boolean;
  axesDim: readonly number[];
  theta: number;
}

export const hunyuanImageTransformer = defineTransformer<HunyuanImageConfig, FluxState>({
  className: 'HunyuanImageTransformer2DModel',
  separateCfg: true,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['time_guidance_embed.**', 'context_embedder.time_text_embed.**'],

  parseConfig(config) {
    config.requires('qk_norm', 'rms_norm');
    const heads = config.count('num_attention_heads', 28);
    const width = heads * config.count('attention_head_dim', 128);
    const inChannels = config.integer('in_channels', 64);
    const patch = config.counts('patch_size', [1, 1]);
    const axesDim = config.counts('rope_axes_dim', [64, 64]);
    if (patch.length !== axesDim.length || patch.length < 2 || patch.length > 3) {
      throw new DejaDitError(
        'INVALID_CONFIG',
        `'patch_size' is [${patch}] and 'rope_axes_dim' [${axesDim}], expected 2 or 3 axes each`,
        {
          path: config.origin,
        },
      );
    }
    return {
      inChannels,
      outChannels: config.outChannels(inChannels, 64),
      doubleBlocks: config.layers('num_layers', 20),
      singleBlocks: config.layers('num_single_layers', 40),
      refinerBlocks: config.layers('num_refiner_layers', 2),
      heads,
      width,
      mlpWidth: Math.floor(width * config.positive('mlp_ratio', 4)),
      patch,
      textWidth: config.integer('text_embed_dim', 3584),
      glyphWidth: config.nullable('text_embed_2_dim', (name) => config.integer(name)),
      guidance: config.boolean('guidance_embeds', false),
      meanFlow: config.boolean('use_meanflow', false),
      axesDim,
      theta: config.positive('rope_theta', 256),
    };
  },

  traits: ({ width, inChannels, outChannels, patch, textWidth, glyphWidth, guidance, meanFlow }) => ({
    width,
    inChannels,
    outChannels,
    patch: [patch.length === 3 ? patch[0]! : 1, patch.at(-2)!, patch.at(-1)!],
    textWidth,
    ...(glyphWidth === undefined ? {} : { glyphWidth }),
    guidanceEmbedding: guidance,
    takesEndTime: meanFlow,
  }),

  inputs: ({ inChannels, textWidth, glyphWidth, guidance, meanFlow, patch }) => [
    {
      name: 'hidden_states',
      kind: 'float',
      shape: ['batch', inChannels, ...['frames', 'height', 'width'].slice(-patch.length)],
    },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'encoder_attention_mask', kind: 'bool', shape: ['batch', 'text_tokens'] },
    ...(meanFlow ? [{ name: 'timestep_r', kind: 'float', shape: ['batch'], optional: true } as const] : []),
    ...(glyphWidth === undefined
      ? []
      : ([
          {
            name: 'encoder_hidden_states_2',
            kind: 'float',
            shape: ['batch', 'glyph_tokens', glyphWidth],
            optional: true,
          },
          { name: 'encoder_attention_mask_2', kind: 'bool', shape: ['batch', 'glyph_tokens'], optional: true },
        ] as const)),
    ...(guidance ? [{ name: 'guidance', kind: 'float', shape: ['batch'] } as const] : []),
  ],

  prepare({ encoder_attention_mask, encoder_attention_mask_2, encoder_hidden_states_2, ...tensors }, config) {
    const grid = patchGrid('hidden_states', tensors.hidden_states!, config.patch);
    const kept = maskRows(encoder_attention_mask!);
    if (encoder_hidden_states_2 && !encoder_attention_mask_2) {
      throw new DejaDitError('INVALID_ARGUMENT', 'missing input, it goes with encoder_hidden_states_2', {
        path: 'encoder_attention_mask_2',
      });
    }
    const glyphs = encoder_hidden_states_2 && maskRows(encoder_attention_mask_2!);
    const text = glyphs ? kept.map((row, sample) => [...glyphs[sample]!, ...row]) : kept;
    const cells = gridPositions(grid);
    const rotary = rotaryTables([...cells, ...text[0]!.map(() => cells[0]!.map(() => 0))], {
      ...config,
      precision: 'single',
    });
    // With glyphs, kept tokens are moved to the front.
    const order = text.map((row) =>
      [true, false].flatMap((keep) => row.flatMap((is, token) => (is === keep ? [token] : []))),
    );
    const visible = text.map((row, sample) => [
      ...cells.map(() => true),
      ...(glyphs ? order[sample]!.map((token) => row[token]!) : row),
    ]);
    const rows = order.flatMap((tokens, sample) => tokens.map((token) => sample * tokens.length + token));
    return {
      tensors: {
        ...tensors,
        ...(glyphs
          ? {
              encoder_hidden_states_2: encoder_hidden_states_2!,
              text_rows: intTensor(rows, [text.length, text[0]!.length]),
            }
          : {}),
        ...refinerTensors(kept),
        ...attentionTensors(rotary, keyMask(visible)),
      },
      statics: { grid },
    };
  },

  prologue(m, inputs, config) {
    const { width, patch } = config;
    const { encoder_hidden_states_2: glyphs, text_rows } = inputs;
    let text = refinedText(m.at('context_embedder'), inputs, config);
    if (glyphs) {
      const both = concat([glyphProjection(m.at('context_embedder_2'), glyphs, width), text], 1);
      text = gather(both.reshape([-1, width]), text_rows!);
    }
    return {
      hidden_states: patchEmbedding(m.at('x_embedder'), inputs.hidden_states!, { patch, width }),
      encoder_hidden_states: text,
      temb: timeAndGuidance(m.at('time_guidance_embed'), inputs, width),
      ...attentionInputs(inputs),
    };
  },

  smallestCalls: ({ patch }) => {
    const [width, height, frames] = patch.toReversed() as [number, number, number?];
    return [{ sizes: { height, width, ...(frames === undefined ? {} : { frames }) } }];
  },

  blockLists: (config) => fluxBlockLists({ ...config, pattern: 0, first: 'image' }),

  epilogue(m, { hidden_states, temb }, { patch, outChannels }, { grid }) {
    const outFeatures = patch.reduce((product, size) => product * size, outChannels);
    const patches = modulatedOutput(m, hidden_states, { temb, outFeatures });
    return unpatchify(patches, { grid: grid as number[], patch, channels: 'first' });
  },
});

/** The sum of the embeddings of time (the mean of begin and end of a step, where both are given) and guidance, [B, D]. */
const timeAndGuidance = layer((m, inputs: State, width: number): SymbolicTensor => {
  const embed = (name: string, value: SymbolicTensor) =>
    timestepEmbedding(m.at(name), sinusoidalEmbedding(value, { dim: 256 }), width);
  let time = embed('timestep_embedder', inputs.timestep!);
  if (inputs.timestep_r) time = time.add(embed('timestep_embedder_r', inputs.timestep_r)).div(2);
  return inputs.guidance ? time.add(embed('guidance_embedder', inputs.guidance)) : time;
});
