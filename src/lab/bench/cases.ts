/** The transformer steps that are timed: the bundled model, and FLUX-shaped ones of larger width with made-up weights. */

import os from 'node:os';
import path from 'node:path';
import { AutoModel } from '../../models/auto-model.ts';
import { type ComputeDtype, computeDtypeOn } from '../../models/compute-dtype.ts';
import { ConfigReader } from '../../models/config-reader.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import { TransformerModel } from '../../models/transformer-model.ts';
import { fluxTransformer } from '../../models/transformers/flux/flux.ts';
import { imageIds, textIds } from '../../pipelines/flux/positions.ts';
import type { Backend } from '../../runtime/backend.ts';
import { type BackendChoice, createBackend } from '../../runtime/create-backend.ts';
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

/** FLUX but for its size. */
export const fluxConfig = {
  _class_name: 'FluxTransformer2DModel',
  patch_size: 1,
  in_channels: 64,
  guidance_embeds: false,
  pooled_projection_dim: 768,
  joint_attention_dim: 1024,
};

const fluxSize = {
  ...fluxConfig,
  num_attention_heads: 24,
  attention_head_dim: 128,
  axes_dims_rope: [16, 56, 56],
  num_layers: 1,
  num_single_layers: 1,
};

/** As wide as DiT-XL. */
export const ditXlSize = {
  ...fluxConfig,
  num_attention_heads: 16,
  attention_head_dim: 72,
  axes_dims_rope: [8, 32, 32],
  num_layers: 2,
  num_single_layers: 4,
};

/** What computes, in which type, and how much of it. Default: the processor. */
export interface BenchPlace {
  backend?: BackendChoice | undefined;
  computeDtype?: ComputeDtype | undefined;
  /** One turn of the smallest model alone: shows that everything runs, the times say nothing. */
  dryRun?: boolean | undefined;
}

/** @param model folder of a FLUX pipeline */
export function benchCases(model: string, { backend, dryRun }: BenchPlace): BenchCase[] {
  const bundled = { name: 'emoji-flux, 128 px', model: path.join(model, 'transformer'), imageEdge: 8, textTokens: 16 };
  if (dryRun) return [{ ...bundled, runs: turn }];
  // Sizes that a processor needs seconds for.
  const large = [32, 64].map((imageEdge) => ({
    name: `FLUX.1 size (1 double + 1 single block, ${imageEdge ** 2} + 512 tokens)`,
    model: fluxSize,
    imageEdge,
    textTokens: 512,
    runs: 12,
  }));
  return [
    { ...bundled, runs: 60 },
    {
      name: 'DiT-XL size (width 1152, 2 double + 4 single blocks, 256 + 16 tokens)',
      model: ditXlSize,
      imageEdge: 16,
      textTokens: 16,
      runs: 12,
    },
    {
      name: 'FLUX.1 size (width 3072, 1 double + 1 single block, 256 + 128 tokens)',
      model: fluxSize,
      imageEdge: 16,
      textTokens: 128,
      runs: 6,
    },
    ...(backend === 'webgpu' ? large : []),
  ];
}

/** With as many threads as the machine has, where it computes in threads. */
export function openBackend({ backend = 'cpu' }: BenchPlace): Promise<Backend> {
  return createBackend({ backend, ...(backend === 'webgpu' ? {} : { threads: os.availableParallelism() }) });
}

export async function loadCase(
  { model }: BenchCase,
  programs: ProgramCache,
  computeDtype?: ComputeDtype,
): Promise<TransformerModel> {
  if (typeof model === 'string') return AutoModel.fromPretrained(model, { programs, computeDtype });
  const definition = fluxTransformer.configure(new ConfigReader(model, 'benchmark'));
  const dtype = computeDtypeOn(programs.backend, computeDtype);
  return new TransformerModel(definition, new RandomWeights(programs.backend, { dtype }), programs, dtype);
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
