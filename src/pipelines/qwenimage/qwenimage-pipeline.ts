/**
 * Qwen-Image: text, and optionally a starting image, to image, the text read by a language model under a fixed instruction. Diffusers'
 * `QwenImagePipeline` and `QwenImageImg2ImgPipeline`.
 */
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { guideKeepingNorm } from '../request/guidance.ts';
import { perSample } from '../request/latents.ts';
import { packedLatents } from '../request/packing.ts';
import { flowSchedule } from '../request/schedule.ts';
import { maybeFromImages } from '../request/start-images.ts';
import { padTexts } from '../request/text-encoder.ts';
import { edges, noGuidanceEmbedding, startImage } from '../schema/sizes.ts';

/** The conversation that the model was trained with; the tokens before the prompt are read, but not passed on. */
const instruction =
  'Describe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the objects and background:';
const conversation = (prompt: string) =>
  `<|im_start|>system\n${instruction}<|im_end|>\n<|im_start|>user\n${prompt}<|im_end|>\n<|im_start|>assistant\n`;
const templateTokens = 34;

export const qwenImagePipeline = definePipeline({
  classNames: ['QwenImagePipeline', 'QwenImageImg2ImgPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('QwenImageTransformer2DModel'),
  },

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'], masks: ['promptEmbedsMask'] },
    guidance: { option: 'trueCfgScale', needsNegative: true },
    options: {
      numInferenceSteps: { default: 50 },
      ...edges(128),
      sigmas: {},
      trueCfgScale: { default: 4 },
      guidanceScale: { unused: noGuidanceEmbedding },
      maxSequenceLength: { default: 512, max: 1024 },
      ...startImage(0.6),
    },
  },

  async plan({ parts: { textEncoder, transformer, vae, scheduler }, settings, reading }) {
    const { batch, trueCfgScale, maxSequenceLength } = settings;
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    const tokens = (rows * columns) / 4;
    const latents = packedLatents([batch, transformer.traits.inChannels / 4, rows, columns]);
    return {
      tokens: tokens + maxSequenceLength,
      embed: async ({ texts: [texts], embeds }) => {
        if (embeds)
          return { encoder_hidden_states: embeds.promptEmbeds, encoder_hidden_states_mask: embeds.promptEmbedsMask };
        const options = { maxLength: maxSequenceLength, templateTokens, ...reading };
        const { embeds: hidden, mask } = padTexts(await textEncoder.encodeEach(texts!.map(conversation), options));
        return { encoder_hidden_states: hidden, encoder_hidden_states_mask: mask };
      },
      latents,
      ...(await maybeFromImages({ latents, vae, settings })),
      schedule: flowSchedule(settings, { scheduler, tokens }),
      inputsAt: (latents, timestep) => ({
        hidden_states: latents,
        timestep: perSample(latents, Math.fround(timestep) / 1000),
        img_shapes: [[1, rows / 2, columns / 2]],
      }),
      combine: ([cond, uncond]) => (uncond ? guideKeepingNorm(cond!, uncond, trueCfgScale) : cond!),
    };
  },
});
