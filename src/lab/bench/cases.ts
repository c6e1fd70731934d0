/** The transformer steps that are timed: the bundled model, and FLUX-shaped ones of larger width with made-up weights. */

import path from 'node:path';
import { AutoModel } from '../../models/auto-model.ts';
import { type ComputeDtype, computeDtypeOn } from '../../models/compute-dtype.ts';
import { ConfigReader } from '../../models/config-reader.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import { TransformerModel } from '../../models/transformer-model.ts';
import { fluxTransformer } from '../../models/transformers/flux/flux.ts';
import { imageIds, textIds } from '../../pipelines/flux/positions.ts';
import type { ProgramCache } from '../../runtime/program-cache.ts';
import { Generator } from '../../tensor/generator.ts';
import { floatTensor } from '../../tensor/tensor.ts';
import { RandomWeights } from './random-weights.ts';

export interface BenchCase {
  name: string;
  /** A checkpoint's folder, or the config of a model with made-up weights. */
  model: string | Readonly<Record<string, unknown>>;
  /** Edge of the square of image tokens. */
  imageEdge: number;
  textTokens: number;
  /** Timed steps. */
  runs: number;
}

/** Steps per turn: long enough to settle, short enough that a slow spell of the machine hits all sides. */
export const turn = 3;

const fluxConfig = {
  _class_name: 'FluxTransformer2DModel',
  patch_size: 1,
  in_channels: 64,
  guidance_embeds: false,
  pooled_projection_dim: 768,
  joint_attention_dim: 1024,
};

/** @param model folder of a FLUX pipeline */
export function benchCases(model: string): BenchCase[] {
  return [
    { name: 'emoji-flux, 128 px', model: path.join(model, 'transformer'), imageEdge: 8, textTokens: 16, runs: 60 },
    {
      name: 'DiT-XL size (width 1152, 2 double + 4 single blocks, 256 + 16 tokens)',
      model: {
        ...fluxConfig,
        num_attention_heads: 16,
        attention_head_dim: 72,
        axes_dims_rope: [8, 32, 32],
        num_layers: 2,
        num_single_layers: 4,
      },
      imageEdge: 16,
      textTokens: 16,
      runs: 12,
    },
    {
      name: 'FLUX.1 size (width 3072, 1 double + 1 single block, 256 + 128 tokens)',
      model: {
        ...fluxConfig,
        num_attention_heads: 24,
        attention_head_dim: 128,
        axes_dims_rope: [16, 56, 56],
        num_layers: 1,
        num_single_layers: 1,
      },
      imageEdge: 16,
      textTokens: 128,
      runs: 6,
    },
  ];
}

export async function loadCase(
  { model }: BenchCase,
  programs: ProgramCache,
  computeDtype?: ComputeDtype,
): Promise<TransformerModel> {
  if (typeof model === 'string') return AutoModel.fromPretrained(model, { programs, computeDtype });
  const definition = fluxTransformer.configure(new ConfigReader(model, 'benchmark'));
  const dtype = computeDtypeOn(programs.backend, computeDtype);
  return new TransformerModel(definition, new RandomWeights(programs.backend, dtype), programs, dtype);
}

/** One call's inputs, in the shapes of the case. */
export function caseInputs(
  { imageEdge, textTokens }: BenchCase,
  config: Readonly<Record<string, unknown>>,
): ForwardInputs {
  const generator = new Generator(1);
  const imageTokens = imageEdge * imageEdge;
  return {
    hidden_states: generator.randn([1, imageTokens, Number(config['in_channels'])]),
    encoder_hidden_states: generator.randn([1, textTokens, Number(config['joint_attention_dim'])]),
    pooled_projections: generator.randn([1, Number(config['pooled_projection_dim'])]),
    timestep: floatTensor([0.5]),
    img_ids: imageIds(imageEdge, imageEdge),
    txt_ids: textIds(textTokens),
  };
}
