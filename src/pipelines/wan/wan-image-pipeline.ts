/**
 * Wan 2.1 and 2.2: an image, and optionally the last one, to video. Diffusers' `WanImageToVideoPipeline`. The 14B models get the images'
 * latents as channels beside their own, 2.1 also what CLIP sees; the 5B one (`expand_timesteps`) has the first image as its first
 * latent frame, at time 0.
 */
import { join } from '../../tensor/slices.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { autoencoder, imageEncoder, optional, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { guide } from '../request/guidance.ts';
import { initialLatents, latentFrames, perSample, transformerLatents } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { loadImages } from '../request/start-images.ts';
import { repeatToRows } from '../request/tensors.ts';
import { embedWan } from './embed.ts';
import { secondExpert, twoExperts } from './experts.ts';
import { frameMask, readWan, timePerToken, videoOf, type WanImageConfig, withFirstFrame } from './image-condition.ts';
import { wanOptions, wanRequest } from './options.ts';

export const wanImagePipeline = definePipeline({
  classNames: ['WanImageToVideoPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    imageEncoder: optional(imageEncoder()),
    vae: autoencoder(),
    transformer: transformer('WanTransformer3DModel'),
    transformer2: secondExpert(),
  },
  config: readWan,
  output: 'videos',

  options: {
    ...wanRequest,
    options: {
      ...wanOptions,
      image: { required: true },
      lastImage: {
        unused: {
          because: 'as this model takes the first image only',
          when: ({ config }: { config: WanImageConfig }) => config.firstFrameGiven,
        },
      },
    },
  },

  async plan({ parts, config, settings, reading, warnings }) {
    const { transformer, vae, textEncoder, imageEncoder } = parts;
    const { batch, height, width, maxSequenceLength, guidanceScale, guidanceScale2 = guidanceScale, signal } = settings;
    const { patch, takesImages } = transformer.traits;
    const frames = latentFrames(settings.numFrames, { vae, warnings });
    const decoded = 1 + (frames - 1) * (vae.traits.temporalScale ?? 1);
    const [rows, columns] = [height / vae.spatialScale, width / vae.spatialScale];
    const experts = twoExperts(parts, config);
    const latents = plainLatents([batch, vae.latentChannels, frames, rows, columns]);
    const given = await loadImages(settings.image!);
    const images = settings.lastImage ? [...given, ...(await loadImages(settings.lastImage, 'lastImage'))] : given;
    const sized = await Promise.all(images.map((image) => image.resize(width, height)));
    const pixels = sized.map((image) => image.toTensor());
    const { firstFrameGiven } = config;
    let first: Tensor | undefined;
    return {
      tokens: (frames * rows * columns) / (patch[1] * patch[2]),
      frames: decoded,
      fps: firstFrameGiven ? 24 : 16,
      embed: (condition) => embedWan(textEncoder, condition, { maxLength: maxSequenceLength, ...reading }),
      latents,
      schedule: { numInferenceSteps: settings.numInferenceSteps },
      start: async (noise, ownScheduler) => {
        const seen = takesImages ? await imageEncoder?.encode(images, { hiddenState: -2, signal }) : undefined;
        const drawn = initialLatents(ownScheduler, { latents, noise, given: settings.latents });
        const video = firstFrameGiven ? pixels[0]!.reshape([1, 3, 1, height, width]) : videoOf(pixels, decoded);
        const clean = repeatToRows(transformerLatents(await vae.encode(video, { signal }), vae), batch);
        const inputs = seen ? { inputs: { encoder_hidden_states_image: repeatToRows(seen, batch * seen.dim(0)) } } : {};
        if (firstFrameGiven) {
          first = clean;
          return {
            latents: withFirstFrame(drawn, clean),
            afterStep: (stepped) => withFirstFrame(stepped, clean),
            ...inputs,
          };
        }
        const mask = frameMask({
          batch,
          frames,
          rows,
          columns,
          last: pixels.length > 1,
          perLatent: vae.traits.temporalScale ?? 1,
        });
        return { latents: drawn, channels: join([mask, clean], 1), ...inputs };
      },
      modelAt: (timestep) => experts.at(timestep),
      inputsAt: (sample, timestep) => ({
        hidden_states: sample,
        timestep: first ? timePerToken(sample, { timestep, patch }) : perSample(sample, timestep),
      }),
      combine: ([cond, uncond], timestep) =>
        uncond ? guide(cond!, uncond, experts.isFirst(timestep) ? guidanceScale : guidanceScale2) : cond!,
    };
  },
});
