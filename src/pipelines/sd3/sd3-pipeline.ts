/** Stable Diffusion 3 and 3.5: text to image, read by two CLIP encoders and, where the checkpoint has it, T5. Diffusers' `StableDiffusion3Pipeline`. */
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { autoencoder, optional, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { perSample } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { givenSchedule, resolutionShift } from '../request/schedule.ts';
import { maybeFromImages } from '../request/start-images.ts';
import { fromModel } from '../schema/pipeline-options.ts';
import { clipSkip, promptWeighting, startImage, textLength } from '../schema/sizes.ts';
import { embedSD3 } from './embed.ts';

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

export const sd3Pipeline = sd3('StableDiffusion3Pipeline', { steps: 28 });
export const sd3Img2ImgPipeline = sd3('StableDiffusion3Img2ImgPipeline', { steps: 50 });

function sd3(className: string, { steps }: { steps: number }) {
  return definePipeline({
    classNames: [className],
    components: {
      scheduler: scheduler(),
      textEncoder: textEncoder(),
      textEncoder2: textEncoder(),
      textEncoder3: optional(textEncoder()),
      vae: autoencoder(),
      transformer: transformer('SD3Transformer2DModel'),
    },

    options: {
      conditions: { texts: ['prompt', 'prompt2', 'prompt3'], embeds: ['promptEmbeds', 'pooledPromptEmbeds'] },
      guidance: { option: 'guidanceScale' },
      options: {
        numInferenceSteps: { default: steps },
        height: edge,
        width: edge,
        sigmas: {},
        guidanceScale: { default: 7 },
        maxSequenceLength: textLength(256, 'textEncoder3'),
        clipSkip,
        promptWeighting,
        ...startImage(0.6),
        prompt3: {
          unused: {
            because: 'as this checkpoint has no third text encoder',
            when: ({ textEncoder3 }) => textEncoder3 === undefined,
          },
        },
      },
    },

    async plan({ parts, settings, reading }) {
      const { transformer, vae, scheduler } = parts;
      const { batch, maxSequenceLength, clipSkip } = settings;
      const { inChannels, patch } = transformer.traits;
      const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
      const tokens = (rows * columns) / patch[1] ** 2;
      const latents = plainLatents([batch, inChannels, rows, columns]);
      return {
        tokens: tokens + maxSequenceLength,
        // As in Diffusers, the negative prompt is read by all of CLIP's layers.
        embed: (condition, isNegative) =>
          embedSD3(parts, condition, {
            maxLength: maxSequenceLength,
            clipSkip: isNegative ? 0 : clipSkip,
            ...reading,
          }),
        latents,
        ...(await maybeFromImages({ latents, vae, settings })),
        schedule: {
          ...givenSchedule(settings),
          ...(scheduler.config['use_dynamic_shifting'] ? { mu: resolutionShift(scheduler, tokens, 1.16) } : {}),
        },
        jointCalls: true,
        inputsAt: (latents, timestep) => ({ hidden_states: latents, timestep: perSample(latents, timestep) }),
      };
    },
  });
}
