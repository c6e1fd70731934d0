/**
 * Qwen-Image: text, and optionally a starting image, to image, the text read by a language model under a fixed instruction. Diffusers'
 * `QwenImagePipeline` and `QwenImageImg2ImgPipeline`.
 */
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { packedLatents } from '../request/packing.ts';
import { flowSchedule } from '../request/schedule.ts';
import { maybeFromImages } from '../request/start-images.ts';
import { edges, startImage } from '../schema/sizes.ts';
import { embedQwen, qwenCalls, qwenConditions, qwenGuidance, qwenOptions } from './calls.ts';

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
    conditions: qwenConditions,
    guidance: qwenGuidance,
    options: {
      ...qwenOptions,
      ...edges(128),
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
      embed: (condition) =>
        embedQwen(condition, (texts) => {
          const options = { maxLength: maxSequenceLength, templateTokens, ...reading };
          return textEncoder.encodeEach(texts.map(conversation), options);
        }),
      latents,
      ...(await maybeFromImages({ latents, vae, settings })),
      schedule: flowSchedule(settings, { scheduler, tokens }),
      ...qwenCalls([[rows / 2, columns / 2]], trueCfgScale),
    };
  },
});
