/**
 * LTX-Video: an image to video. Diffusers' `LTXImageToVideoPipeline`: the image is the first latent frame, which is at time 0 and stays as it
 * is. Given `latents` have it already.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { cut, join } from '../../tensor/slices.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { definePipeline } from '../define-pipeline.ts';
import { initialLatents } from '../request/latents.ts';
import { encodePictures, loadPixels } from '../request/start-images.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { ltxComponents, ltxConditions, ltxOptions, planVideo } from './ltx-plan.ts';

const withLatents = {
  because: 'with latents, which have a first frame of their own',
  when: ({ latents }: GenerateOptions) => latents !== undefined,
};

export const ltxImagePipeline = definePipeline({
  classNames: ['LTXImageToVideoPipeline'],
  components: ltxComponents,
  output: 'videos',
  options: {
    conditions: ltxConditions,
    guidance: { option: 'guidanceScale' },
    options: { ...ltxOptions, image: { idle: withLatents } },
  },

  async plan({ parts, settings, reading, warnings }) {
    const { vae } = parts;
    const { batch, signal, image, latents: given } = settings;
    if (!image && !given)
      throw new DejaDitError('INVALID_ARGUMENT', 'is missing: the first frame, unless latents have it', {
        path: 'image',
      });
    const plan = planVideo({ parts, settings, reading, warnings });
    const { latents } = plan;
    const pixels = given ? undefined : await loadPixels(image, settings);
    const firstTokens = plan.tokens / latents.drawn[2]!;
    return {
      ...plan,
      start: async (noise, scheduler) => {
        // Pictures are sampled before noise is drawn.
        const encoded = pixels && latents.pack(await encodePictures(pixels, { vae, batch, noise, signal }));
        const drawn = initialLatents(scheduler, { latents, noise, given });
        const first = encoded ?? cut(drawn, { axis: 1, from: 0, to: firstTokens });
        const withFirst = (sample: Tensor) =>
          join([first, cut(sample, { axis: 1, from: firstTokens, to: plan.tokens })], 1);
        return { latents: withFirst(drawn), afterStep: withFirst };
      },
      inputsAt: (sample, timestep) => ({
        ...plan.inputsAt(sample, timestep),
        timestep: timePerToken(sample, { timestep, firstTokens }),
      }),
    };
  },
});

/** A time for every token [B, tokens]: 0 for those of the first frame. */
function timePerToken(
  { shape: [batch = 1, tokens = 1] }: Tensor,
  { timestep, firstTokens }: { timestep: number; firstTokens: number },
): Tensor {
  const times = Float32Array.from({ length: batch * tokens }, (_, i) => (i % tokens < firstTokens ? 0 : timestep));
  return floatTensor(times, [batch, tokens]);
}
