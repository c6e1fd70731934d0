/**
 * Qwen-Image: text, and optionally a starting image, to image, the text read by a language model under a fixed instruction. Diffusers'
 * `QwenImagePipeline` and `QwenImageImg2ImgPipeline`, and inpainting, its `QwenImageInpaintPipeline`.
 */
import { definePipeline } from '../define-pipeline.ts';
import { inpainted } from '../request/inpaint.ts';
import { packedLatents } from '../request/packing.ts';
import { flowSchedule } from '../request/schedule.ts';
import { maybeFromImages } from '../request/start-images.ts';
import { edges, inpainting, type PictureOptions, startImage } from '../schema/sizes.ts';
import { embedPrompt, qwenCalls, qwenComponents, qwenConditions, qwenGuidance, qwenOptions } from './calls.ts';

export const qwenImagePipeline = qwenImage(['QwenImagePipeline', 'QwenImageImg2ImgPipeline'], {
  pictures: startImage(0.6),
  from: maybeFromImages,
});
export const qwenImageInpaintPipeline = qwenImage(['QwenImageInpaintPipeline'], {
  pictures: inpainting(0.6),
  from: inpainted,
});

interface StartingImage {
  pictures: PictureOptions;
  from: typeof inpainted;
}

function qwenImage(classNames: readonly [string, ...string[]], { pictures, from }: StartingImage) {
  return definePipeline({
    classNames,
    components: qwenComponents,

    options: {
      conditions: qwenConditions,
      guidance: qwenGuidance,
      options: {
        ...qwenOptions,
        ...edges(128),
        maxSequenceLength: { default: 512, max: 1024 },
        ...pictures,
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
        ...(await from({ latents, vae, settings })),
        schedule: flowSchedule(settings, { scheduler, tokens }),
        ...qwenCalls([[rows / 2, columns / 2]], trueCfgScale),
      };
    },
  });
}
