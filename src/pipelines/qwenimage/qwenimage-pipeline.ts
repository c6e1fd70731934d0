/**
 * Qwen-Image: text, and optionally a starting image, to image, the text read by a language model under a fixed instruction. Diffusers'
 * `QwenImagePipeline` and `QwenImageImg2ImgPipeline`.
 */
import { definePipeline } from '../define-pipeline.ts';
import { packedLatents } from '../request/packing.ts';
import { flowSchedule } from '../request/schedule.ts';
import { maybeFromImages } from '../request/start-images.ts';
import { edges, startImage } from '../schema/sizes.ts';
import { embedPrompt, qwenCalls, qwenComponents, qwenConditions, qwenGuidance, qwenOptions } from './calls.ts';

export const qwenImagePipeline = definePipeline({
  classNames: ['QwenImagePipeline', 'QwenImageImg2ImgPipeline'],
  components: qwenComponents,

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
      embed: (condition) => embedPrompt(textEncoder, condition, { maxLength: maxSequenceLength, ...reading }),
      latents,
      ...(await maybeFromImages({ latents, vae, settings })),
      schedule: flowSchedule(settings, { scheduler, tokens }),
      ...qwenCalls([[rows / 2, columns / 2]], trueCfgScale),
    };
  },
});
