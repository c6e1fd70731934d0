/** Stable Diffusion 3 and 3.5: text to image, read by two CLIP encoders and, where the checkpoint has it, T5. Diffusers' `StableDiffusion3Pipeline`. */
import { definePipeline } from '../define-pipeline.ts';
import { maybeFromImages } from '../request/start-images.ts';
import { startImage } from '../schema/sizes.ts';
import { sd3Components, sd3Conditions, sd3Latents, sd3Options, sd3Plan } from './calls.ts';

export const sd3Pipeline = sd3('StableDiffusion3Pipeline', { steps: 28 });
export const sd3Img2ImgPipeline = sd3('StableDiffusion3Img2ImgPipeline', { steps: 50 });

function sd3(className: string, { steps }: { steps: number }) {
  return definePipeline({
    classNames: [className],
    components: sd3Components,

    options: {
      conditions: sd3Conditions,
      guidance: { option: 'guidanceScale' },
      options: { numInferenceSteps: { default: steps }, ...sd3Options, ...startImage(0.6) },
    },

    async plan({ parts, settings, reading }) {
      const request = { parts, settings, reading };
      const latents = sd3Latents(request);
      return { ...sd3Plan(request), ...(await maybeFromImages({ latents, vae: parts.vae, settings })) };
    },
  });
}
