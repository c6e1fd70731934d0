/** CogVideoX: a video to video, its latents noised to the level of `strength`. Diffusers' `CogVideoXVideoToVideoPipeline`. */
import { DejaDitError } from '../../errors/errors.ts';
import { join } from '../../tensor/slices.ts';
import { definePipeline } from '../define-pipeline.ts';
import { transformerLatents } from '../request/latents.ts';
import { lateTimesteps } from '../request/schedule.ts';
import { loadImages } from '../request/start-images.ts';
import { repeatToRows } from '../request/tensors.ts';
import {
  cogVideoXComponents,
  cogVideoXConditions,
  cogVideoXOptions,
  guidedVideo,
  latentFramesOf,
  planVideo,
  swapFramesAndChannels,
} from './cogvideox-plan.ts';

export const cogVideoXVideoPipeline = definePipeline({
  classNames: ['CogVideoXVideoToVideoPipeline'],
  components: cogVideoXComponents,
  output: 'videos',
  options: {
    conditions: cogVideoXConditions,
    guidance: { option: 'guidanceScale' },
    options: {
      ...cogVideoXOptions,
      video: { required: true },
      strength: { default: 0.8 },
      latents: { idle: { because: 'beside a video, whose noised latents are the start', when: () => true } },
    },
  },

  async plan({ parts, settings, reading, warnings }) {
    const { vae, transformer } = parts;
    const { batch, signal, height, width, numInferenceSteps, strength } = settings;
    const images = await loadImages(settings.video!, 'video');
    const numFrames = images.length;
    const { shown, drawn } = latentFramesOf(numFrames, parts);
    const perLatent = vae.traits.temporalScale ?? 1;
    if (shown !== drawn || (numFrames - 1) % perLatent !== 0)
      throw new DejaDitError(
        'INVALID_ARGUMENT',
        `${numFrames} frames are no whole number of latents; give 1 + ${perLatent} · n of them, with n + 1 a multiple of ${transformer.traits.patch[0]}`,
        { path: 'video' },
      );
    const sized = await Promise.all(images.map((image) => image.resize(width, height)));
    const frames = sized.map((image) => image.toTensor().reshape([1, 3, 1, height, width]));
    const channels = transformer.traits.inChannels;
    const plan = planVideo({ parts, settings, reading, warnings, numFrames, channels });
    const taken = Math.min(Math.floor(numInferenceSteps * strength), numInferenceSteps);
    return {
      ...plan,
      start: async (noise, scheduler) => {
        const timesteps = lateTimesteps(scheduler, { numInferenceSteps, strength, wholeSteps: true });
        const encoded = await vae.encode(join(frames, 2), {
          generator: noise,
          samples: noise.perImage ? batch : 1,
          signal,
        });
        const clean = swapFramesAndChannels(transformerLatents(encoded, vae));
        const latents = scheduler.addNoise({
          sample: repeatToRows(clean, batch),
          noise: noise.randn(plan.latents.drawn),
          timestep: timesteps[0]!,
        });
        return { timesteps, latents };
      },
      combine: guidedVideo({ ...settings, numInferenceSteps: taken }),
    };
  },
});
