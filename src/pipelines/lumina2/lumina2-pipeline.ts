/** Lumina Image 2.0: text to image, read by a language model under an instruction. Diffusers' `Lumina2Pipeline`. */
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { guide, guideKeepingNorm } from '../request/guidance.ts';
import { perSample } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { flowSchedule } from '../request/schedule.ts';
import { affine } from '../request/tensors.ts';
import { embedMasked } from '../request/text-encoder.ts';
import { edges, onEmbeddings, withoutGuidance } from '../schema/sizes.ts';

export const lumina2Pipeline = definePipeline({
  classNames: ['Lumina2Pipeline', 'Lumina2Text2ImgPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('Lumina2Transformer2DModel'),
  },

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'], masks: ['promptAttentionMask'] },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 30 },
      ...edges(128),
      sigmas: {},
      guidanceScale: { default: 4 },
      cfgTruncRatio: { default: 1, idle: withoutGuidance },
      cfgNormalization: { default: true, idle: withoutGuidance },
      systemPrompt: {
        default:
          'You are an assistant designed to generate superior images with the superior degree of image-text alignment based on textual prompts or user prompts.',
        idle: onEmbeddings,
      },
      maxSequenceLength: { default: 256 },
    },
  },

  plan({ parts: { textEncoder, transformer, vae, scheduler }, settings, reading }) {
    const { batch, guidanceScale: scale, cfgTruncRatio, cfgNormalization, systemPrompt, maxSequenceLength } = settings;
    const { inChannels, patch } = transformer.traits;
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    const instructed = (text: string) => `${systemPrompt} <Prompt Start> ${text}`;
    const guided = cfgNormalization ? guideKeepingNorm : guide;
    return {
      tokens: (rows * columns) / patch[1] ** 2 + maxSequenceLength,
      embed: (condition, isNegative) =>
        embedMasked(textEncoder, condition, {
          maxLength: maxSequenceLength,
          hiddenState: -2,
          ...(isNegative ? {} : { prepare: instructed }),
          ...reading,
        }),
      latents: plainLatents([batch, inChannels, rows, columns]),
      // As in Diffusers, whose length of the image sequence is the number of channels.
      schedule: flowSchedule(settings, { scheduler, tokens: inChannels }),
      guidedAt: (_timestep, index) => (index + 1) / settings.numInferenceSteps <= cfgTruncRatio,
      // The model counts time from noise (0) to image (1), and predicts the way there.
      inputsAt: (latents, timestep) => ({
        hidden_states: latents,
        timestep: perSample(latents, Math.fround(1 - Math.fround(timestep) / 1000)),
      }),
      combine: ([cond, uncond]) => affine(uncond ? guided(cond!, uncond, scale) : cond!, { scale: -1 }),
    };
  },
});
