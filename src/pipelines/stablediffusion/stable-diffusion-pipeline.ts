/**
 * Stable Diffusion 1 and 2, SD-Turbo and latent consistency models: text, and optionally a starting image, to image. Diffusers'
 * `StableDiffusionPipeline` and `StableDiffusionImg2ImgPipeline` in one, and its `StableDiffusionInpaintPipeline`. Safety checkers are not run.
 */
import { autoencoder, named, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { guidanceBranches } from '../request/conditions.ts';
import { plainLatents } from '../request/plan.ts';
import { givenSchedule } from '../request/schedule.ts';
import { clipSkip, inpainting, promptWeighting, startImage } from '../schema/sizes.ts';
import { guidanceFeatures, pixelEdge, unetInputs } from './calls.ts';
import { inpaintedByUNet, maybeStartedByUNet, type StartingImage } from './inpaint.ts';

export const stableDiffusionPipeline = stableDiffusion(['StableDiffusionPipeline', 'StableDiffusionImg2ImgPipeline'], {
  pictures: startImage(0.8),
  from: maybeStartedByUNet,
});
export const stableDiffusionInpaintPipeline = stableDiffusion(['StableDiffusionInpaintPipeline'], {
  pictures: inpainting(1),
  from: inpaintedByUNet,
});

function stableDiffusion(classNames: readonly [string, ...string[]], { pictures, from }: StartingImage) {
  return definePipeline({
    classNames,
    components: {
      scheduler: scheduler(),
      textEncoder: textEncoder(),
      vae: autoencoder(),
      transformer: named('unet', transformer('UNet2DConditionModel')),
    },

    options: {
      conditions: { texts: ['prompt'], embeds: ['promptEmbeds'] },
      guidance: { option: 'guidanceScale' },
      options: {
        numInferenceSteps: { default: 50 },
        height: pixelEdge,
        width: pixelEdge,
        timesteps: {},
        sigmas: {},
        guidanceScale: { default: 7.5 },
        negativePrompt: {
          unused: {
            because: 'as this model was distilled with its guidance',
            when: ({ transformer }) => transformer.traits.guidanceFeatures !== undefined,
          },
        },
        clipSkip,
        promptWeighting,
        ...pictures,
      },
    },

    async plan({ parts, settings, reading }) {
      const { textEncoder: clip, transformer, vae } = parts;
      const { batch, numImages, clipSkip, guidanceScale } = settings;
      const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
      const latents = plainLatents([batch, vae.latentChannels, rows, columns]);
      const features = transformer.traits.guidanceFeatures;
      const conditions = features === undefined ? settings.conditions : { ...settings.conditions, negative: undefined };
      const read = { maxLength: clip.tokenizer.modelMaxLength, ...reading };
      // As in Diffusers, the negative prompt is read by all of CLIP's layers.
      const skipping = clipSkip > 0 ? { ...read, hiddenState: -1 - clipSkip, finalNorm: true } : read;
      return {
        tokens: rows * columns,
        encode: () =>
          guidanceBranches(conditions, numImages, async ({ texts, embeds }, isNegative) => ({
            encoder_hidden_states: embeds
              ? embeds['promptEmbeds']
              : (await clip.encodePadded(texts[0]!, isNegative ? read : skipping)).hidden,
          })),
        latents,
        schedule: givenSchedule(settings),
        ...(await from({ transformer, vae, latents, settings })),
        jointCalls: true,
        inputsAt: unetInputs(
          features === undefined ? {} : { timestep_cond: guidanceFeatures(guidanceScale, { batch, features }) },
        ),
      };
    },
  });
}
