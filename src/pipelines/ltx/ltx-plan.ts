/** What the pipelines of LTX-Video have in common: components, options, and the plan of a video on few latents, each of which is a token. */
import type { WarningLog } from '../../errors/warnings.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { guidanceBranches } from '../request/conditions.ts';
import { guideRescaled } from '../request/guidance.ts';
import { latentFrames, perSample } from '../request/latents.ts';
import { packTokens, unpackTokens } from '../request/packing.ts';
import type { LatentLayout, Plan } from '../request/plan.ts';
import { flowSchedule } from '../request/schedule.ts';
import type { EncodeTextOptions, TextEncoder } from '../request/text-encoder.ts';
import type { PromptSettings } from '../schema/read-settings.ts';
import { aLatent, type HasAutoencoder } from '../schema/sizes.ts';
import { type NoisyDecoding, noisyDecoding } from './noisy-decoding.ts';

export const ltxComponents = {
  scheduler: scheduler(),
  textEncoder: textEncoder(),
  vae: autoencoder(),
  transformer: transformer('LTXVideoTransformer3DModel'),
};

export const ltxConditions = {
  texts: ['prompt'],
  embeds: ['promptEmbeds'],
  masks: ['promptAttentionMask'],
} as const;

const untimed = {
  because: 'as this autoencoder removes no noise',
  when: ({ vae }: HasAutoencoder) => !vae.traits.timed,
};

export const ltxOptions = {
  numInferenceSteps: { default: 50 },
  height: { default: 512, multipleOf: aLatent },
  width: { default: 704, multipleOf: aLatent },
  numFrames: { default: 161 },
  frameRate: { default: 25 },
  sigmas: {},
  guidanceScale: { default: 3 },
  guidanceRescale: { default: 0 },
  decodeTimestep: { default: 0, unused: untimed },
  decodeNoiseScale: { unused: untimed },
  maxSequenceLength: { default: 128 },
};

export interface VideoRequest {
  parts: { textEncoder: TextEncoder; vae: Autoencoder; scheduler: Scheduler };
  settings: Pick<PromptSettings, 'conditions' | 'batch'> &
    NoisyDecoding & {
      numInferenceSteps: number;
      height: number;
      width: number;
      numFrames: number;
      frameRate: number;
      sigmas?: readonly number[];
      guidanceScale: number;
      guidanceRescale: number;
      maxSequenceLength: number;
      numImages: number;
    };
  reading: Omit<EncodeTextOptions, 'maxLength'>;
  warnings: WarningLog;
}

export function planVideo({ parts, settings, reading, warnings }: VideoRequest) {
  const { textEncoder, vae, scheduler } = parts;
  const { conditions, batch, numImages, height, width, frameRate, maxSequenceLength } = settings;
  const { guidanceScale: scale, guidanceRescale: rescale } = settings;
  const frames = latentFrames(settings.numFrames, { vae, warnings, roundDown: true });
  const temporalScale = vae.traits.temporalScale ?? 1;
  const [rows, columns] = [height / vae.spatialScale, width / vae.spatialScale];
  const tokens = frames * rows * columns;
  const options = { maxLength: maxSequenceLength, ...reading };
  const latents = videoTokens([batch, vae.latentChannels, frames, rows, columns]);
  return {
    tokens,
    frames: 1 + (frames - 1) * temporalScale,
    fps: frameRate,
    encode: () =>
      guidanceBranches(conditions, numImages, async ({ texts: [texts], embeds }) => {
        if (embeds)
          return { encoder_hidden_states: embeds.promptEmbeds, encoder_attention_mask: embeds.promptAttentionMask };
        const { hidden, mask } = await textEncoder.encodePadded(texts!, options);
        return { encoder_hidden_states: hidden, encoder_attention_mask: mask };
      }),
    latents,
    schedule: flowSchedule(settings, { scheduler, tokens }),
    jointCalls: true,
    inputsAt: (sample, timestep) => ({
      hidden_states: sample,
      timestep: perSample(sample, timestep),
      num_frames: frames,
      height: rows,
      width: columns,
      rope_interpolation_scale: [temporalScale / frameRate, vae.spatialScale, vae.spatialScale],
    }),
    combine: ([cond, uncond]) => (uncond ? guideRescaled(cond!, uncond, { scale, rescale }) : cond!),
    ...(vae.traits.timed ? noisyDecoding({ vae, latents, settings }) : {}),
  } satisfies Plan;
}

/** Every latent is a token. */
function videoTokens(drawn: readonly [number, number, number, number, number]): LatentLayout {
  const [batch, channels, frames, rows, columns] = drawn;
  return {
    drawn,
    shape: [batch, frames * rows * columns, channels],
    pack: (latents) => packTokens(latents.reshape([latents.dim(0), channels, latents.dim(2) * rows, columns])),
    unpack: (tokens) =>
      unpackTokens(tokens, frames * rows, columns).reshape([tokens.dim(0), channels, frames, rows, columns]),
  };
}
