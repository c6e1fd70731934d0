/**
 * Stable Diffusion 3 and 3.5: text, and optionally a starting image, to image, read by two CLIP encoders and, where the checkpoint has it, T5.
 * Diffusers' `StableDiffusion3Pipeline`, `StableDiffusion3Img2ImgPipeline` and `StableDiffusion3InpaintPipeline`.
 */
import { imagesFromTensor } from '../../images/image.ts';
import { definePipeline } from '../define-pipeline.ts';
import { inpainted } from '../request/inpaint.ts';
import { maybeFromImages } from '../request/start-images.ts';
import { affine } from '../request/tensors.ts';
import { inpainting, startImage } from '../schema/sizes.ts';
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

export const sd3InpaintPipeline = definePipeline({
  classNames: ['StableDiffusion3InpaintPipeline'],
  components: sd3Components,

  options: {
    conditions: sd3Conditions,
    guidance: { option: 'guidanceScale' },
    options: { numInferenceSteps: { default: 50 }, ...sd3Options, ...inpainting(0.6) },
  },

  async plan({ parts, settings, reading }) {
    const { vae } = parts;
    const request = { parts, settings, reading };
    const latents = sd3Latents(request);
    return {
      ...sd3Plan(request),
      ...(await inpainted({ latents, vae, settings, pureAtFull: true })),
      // As in Diffusers, the shift of latents is not taken back.
      decode: async (latents, signal) => {
        const raw = affine(latents, { scale: 1 / vae.traits.scalingFactor });
        return { images: imagesFromTensor(await vae.decode(raw, { signal })) };
      },
    };
  },
});
