/**
 * Wan 2.1 and 2.2: text to video. Diffusers' `WanPipeline`. Wan 2.2 has two experts: one for the noisy part of the schedule, down
 * to `boundary_ratio` of the training times, one for the rest.
 */
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { guide } from '../request/guidance.ts';
import { latentFrames, perSample } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { embedWan } from './embed.ts';
import { readExperts, secondExpert, twoExperts } from './experts.ts';
import { wanOptions, wanRequest } from './options.ts';

export const wanPipeline = definePipeline({
  classNames: ['WanPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('WanTransformer3DModel'),
    transformer2: secondExpert(),
  },
  config: readExperts,
  output: 'videos',

  options: {
    ...wanRequest,
    options: wanOptions,
  },

  plan({ parts, config, settings, reading, warnings }) {
    const { transformer, vae, textEncoder } = parts;
    const { batch, maxSequenceLength, guidanceScale, guidanceScale2 = guidanceScale } = settings;
    const { patch, inChannels } = transformer.traits;
    const frames = latentFrames(settings.numFrames, { vae, warnings });
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    const experts = twoExperts(parts, config);
    return {
      tokens: (frames * rows * columns) / (patch[1] * patch[2]),
      frames: 1 + (frames - 1) * (vae.traits.temporalScale ?? 1),
      fps: 16,
      embed: (condition) => embedWan(textEncoder, condition, { maxLength: maxSequenceLength, ...reading }),
      latents: plainLatents([batch, inChannels, frames, rows, columns]),
      schedule: { numInferenceSteps: settings.numInferenceSteps },
      modelAt: (timestep) => experts.at(timestep),
      inputsAt: (latents, timestep) => ({ hidden_states: latents, timestep: perSample(latents, timestep) }),
      combine: ([cond, uncond], timestep) =>
        uncond ? guide(cond!, uncond, experts.isFirst(timestep) ? guidanceScale : guidanceScale2) : cond!,
    };
  },
});
