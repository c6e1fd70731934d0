/** Z-Image: text to image, the text read by a language model as a question to its assistant. Diffusers' `ZImagePipeline`. */
import { cut } from '../../tensor/slices.ts';
import { dims, type Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { guideBeyond } from '../request/guidance.ts';
import { perSample } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { flowSchedule } from '../request/schedule.ts';
import { maybeFromImages } from '../request/start-images.ts';
import { affine } from '../request/tensors.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { startImage, twoLatents } from '../schema/sizes.ts';

const unguided = {
  because: 'without guidance; set guidanceScale above 0',
  when: ({ guidanceScale }: GenerateOptions) => guidanceScale === 0,
};

export const zImagePipeline = definePipeline({
  classNames: ['ZImagePipeline', 'ZImageImg2ImgPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('ZImageTransformer2DModel'),
  },

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'], ragged: true },
    guidance: { option: 'guidanceScale', above: 0 },
    options: {
      numInferenceSteps: { default: 50 },
      height: { default: 1024, multipleOf: twoLatents },
      width: { default: 1024, multipleOf: twoLatents },
      sigmas: {},
      guidanceScale: { default: 5 },
      cfgNormalization: { default: false, idle: unguided },
      cfgTruncation: { default: 1, idle: unguided },
      maxSequenceLength: { default: 512 },
      ...startImage(0.6),
    },
  },

  async plan({ parts: { textEncoder, transformer, vae, scheduler }, settings, reading }) {
    const { batch, guidanceScale: scale, cfgTruncation, maxSequenceLength } = settings;
    const maxNorm = Number(settings.cfgNormalization);
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    const tokens = (rows * columns) / 4;
    const latents = plainLatents([batch, transformer.traits.inChannels, rows, columns]);
    return {
      tokens: tokens + maxSequenceLength,
      // The last hidden state but one of each prompt's tokens.
      embed: async ({ texts: [texts], embeds }) => {
        if (embeds) return { cap_feats: embeds.promptEmbeds };
        const template = { addGenerationPrompt: true, variables: { enable_thinking: true } };
        const questions = texts!.map((content) =>
          textEncoder.tokenizer.applyChatTemplate([{ role: 'user', content }], template),
        );
        const options = { maxLength: maxSequenceLength, hiddenState: -2, ...reading };
        return { cap_feats: await textEncoder.encodeEach(await Promise.all(questions), options) };
      },
      latents,
      ...(await maybeFromImages({ latents, vae, settings })),
      schedule: flowSchedule(settings, { scheduler, tokens }),
      jointCalls: true,
      inputsAt: (latents, timestep) => ({ x: videosOfOneFrame(latents), t: perSample(latents, progress(timestep)) }),
      combine: ([cond, uncond], timestep) => {
        const guided = uncond && progress(timestep) <= cfgTruncation;
        const output = guided ? guideBeyond(cond!, uncond, { scale, maxNorm }) : cond!;
        // The model predicts the way from noise to image, schedulers step along the way back.
        return affine(output.reshape([batch, -1, rows, columns]), { scale: -1 });
      },
    };
  },
});

/** The model counts time from noise (0) to image (1). */
function progress(timestep: number): number {
  return Math.fround(Math.fround(1000 - Math.fround(timestep)) / 1000);
}

/** Latents [B, C, h, w] as the list [C, 1, h, w], … that the model takes. */
function videosOfOneFrame(latents: Tensor): Tensor[] {
  const [batch, channels, height, width] = dims(latents, 4);
  return Array.from({ length: batch }, (_, i) =>
    cut(latents, { axis: 0, from: i, to: i + 1 }).reshape([channels, 1, height, width]),
  );
}
