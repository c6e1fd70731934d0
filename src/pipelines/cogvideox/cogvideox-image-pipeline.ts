/** CogVideoX: an image to video, as the first frame of what calls get beside the latents. Diffusers' `CogVideoXImageToVideoPipeline`. */
import { join } from '../../tensor/slices.ts';
import { dims, floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { definePipeline } from '../define-pipeline.ts';
import { initialLatents } from '../request/latents.ts';
import { encodePictures, loadPixels } from '../request/start-images.ts';
import { affine } from '../request/tensors.ts';
import { cogVideoXComponents, cogVideoXConditions, cogVideoXOptions, planVideo } from './cogvideox-plan.ts';

export const cogVideoXImagePipeline = definePipeline({
  classNames: ['CogVideoXImageToVideoPipeline'],
  components: cogVideoXComponents,
  output: 'videos',
  options: {
    conditions: cogVideoXConditions,
    guidance: { option: 'guidanceScale' },
    options: { ...cogVideoXOptions, numFrames: { default: 49 }, image: { required: true } },
  },

  async plan({ parts, settings, reading, warnings }) {
    const { vae, transformer } = parts;
    const { batch, signal, numFrames } = settings;
    const pixels = await loadPixels(settings.image, settings);
    const channels = transformer.traits.inChannels / 2;
    const plan = planVideo({ parts, settings, reading, warnings, numFrames, channels });
    const { scalingFactor, pictureScalingFactor = scalingFactor } = vae.traits;
    return {
      ...plan,
      start: async (noise, scheduler) => {
        // Pictures are sampled before noise is drawn.
        const encoded = await encodePictures(pixels, { vae, batch, noise, signal });
        const picture = affine(encoded, { scale: pictureScalingFactor / scalingFactor });
        return {
          latents: initialLatents(scheduler, { latents: plan.latents, noise, given: settings.latents }),
          channels: beforeZeros(picture, plan.latents.shape[1]!),
          channelAxis: 2,
        };
      },
    };
  },
});

/** Latents of a picture [B, C, 1, h, w] as the first of so many frames: [B, frames, C, h, w]. */
function beforeZeros(picture: Tensor, frames: number): Tensor {
  const [batch, channels, , rows, columns] = dims(picture, 5);
  const first = picture.reshape([batch, 1, channels, rows, columns]);
  if (frames === 1) return first;
  const shape = [batch, frames - 1, channels, rows, columns];
  return join([first, floatTensor(new Float32Array((frames - 1) * picture.size), shape)], 1);
}
