/** Of what Stable Diffusion 3 consists, and what its pipelines have in common: options, schedule, and what calls get. */
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { autoencoder, optional, scheduler, textEncoder, transformer } from '../components.ts';
import { perSample } from '../request/latents.ts';
import { type LatentLayout, type Plan, plainLatents } from '../request/plan.ts';
import { givenSchedule, resolutionShift } from '../request/schedule.ts';
import type { TextEncoder } from '../request/text-encoder.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { fromModel } from '../schema/pipeline-options.ts';
import { clipSkip, promptWeighting, textLength } from '../schema/sizes.ts';
import { embedSD3, type SD3Readers } from './embed.ts';

export const sd3Components = {
  scheduler: scheduler(),
  textEncoder: textEncoder(),
  textEncoder2: textEncoder(),
  textEncoder3: optional(textEncoder()),
  vae: autoencoder(),
  transformer: transformer('SD3Transformer2DModel'),
};

interface Sized {
  vae: Autoencoder;
  transformer: TransformerModel;
}

const edge = {
  default: fromModel(
    "the transformer's sample_size",
    ({ vae, transformer }: Sized) => transformer.traits.sampleSize! * vae.spatialScale,
  ),
  multipleOf: fromModel(
    'the pixels of a token',
    ({ vae, transformer }: Sized) => vae.spatialScale * transformer.traits.patch[1],
  ),
};

export const sd3Conditions = {
  texts: ['prompt', 'prompt2', 'prompt3'],
  embeds: ['promptEmbeds', 'pooledPromptEmbeds'],
} as const;

export const sd3Options = {
  height: edge,
  width: edge,
  sigmas: {},
  guidanceScale: { default: 7 },
  maxSequenceLength: textLength(256, 'textEncoder3'),
  clipSkip,
  promptWeighting,
  prompt3: {
    unused: {
      because: 'as this checkpoint has no third text encoder',
      when: ({ textEncoder3 }: { textEncoder3: TextEncoder | undefined }) => textEncoder3 === undefined,
    },
  },
};

export interface SD3Request {
  parts: SD3Readers & Sized & { scheduler: Scheduler };
  settings: Pick<GenerateOptions, 'sigmas' | 'timesteps'> &
    Required<Pick<GenerateOptions, 'numInferenceSteps'>> & {
      batch: number;
      height: number;
      width: number;
      maxSequenceLength: number;
      clipSkip: number;
    };
  reading: Pick<Parameters<typeof embedSD3>[2], 'signal' | 'warnings' | 'weighting'>;
}

export function sd3Latents({ parts: { transformer, vae }, settings }: SD3Request): LatentLayout {
  const { batch, height, width } = settings;
  return plainLatents([batch, transformer.traits.inChannels, height / vae.spatialScale, width / vae.spatialScale]);
}

/** What a plan has but for pictures. */
export function sd3Plan(
  request: SD3Request,
): Pick<Plan, 'tokens' | 'embed' | 'latents' | 'schedule' | 'jointCalls' | 'inputsAt'> {
  const { parts, settings, reading } = request;
  const { transformer, scheduler } = parts;
  const { maxSequenceLength: maxLength, clipSkip } = settings;
  const latents = sd3Latents(request);
  const [, , rows, columns] = latents.shape as [number, number, number, number];
  const tokens = (rows * columns) / transformer.traits.patch[1] ** 2;
  return {
    tokens: tokens + maxLength,
    // As in Diffusers, the negative prompt is read by all of CLIP's layers.
    embed: (condition, isNegative) =>
      embedSD3(parts, condition, { maxLength, clipSkip: isNegative ? 0 : clipSkip, ...reading }),
    latents,
    schedule: {
      ...givenSchedule(settings),
      ...(scheduler.config['use_dynamic_shifting'] ? { mu: resolutionShift(scheduler, tokens, 1.16) } : {}),
    },
    jointCalls: true,
    inputsAt: (sample, timestep) => ({ hidden_states: sample, timestep: perSample(sample, timestep) }),
  };
}
