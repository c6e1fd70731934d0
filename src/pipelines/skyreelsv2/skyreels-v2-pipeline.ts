/**
 * SkyReels-V2: text to video, read as Wan reads it. Diffusers' `SkyReelsV2Pipeline`, in which all frames of a video have one time; videos
 * without end, whose frames have times of their own, are those of other classes.
 */
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { latentFrames, perSample } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { embedWan } from '../wan/embed.ts';
import { videoOptions, wanRequest } from '../wan/options.ts';

export const skyReelsV2Pipeline = definePipeline({
  classNames: ['SkyReelsV2Pipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('SkyReelsV2Transformer3DModel'),
  },
  output: 'videos',

  options: {
    ...wanRequest,
    options: videoOptions({ height: 544, width: 960, numFrames: 97, guidanceScale: 6 }),
  },

  plan({ parts: { transformer, vae, textEncoder }, settings, reading, warnings }) {
    const { batch, maxSequenceLength } = settings;
    const { patch, inChannels } = transformer.traits;
    const frames = latentFrames(settings.numFrames, { vae, warnings });
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    return {
      tokens: (frames * rows * columns) / (patch[1] * patch[2]),
      frames: 1 + (frames - 1) * (vae.traits.temporalScale ?? 1),
      fps: 24,
      embed: (condition) => embedWan(textEncoder, condition, { maxLength: maxSequenceLength, ...reading }),
      latents: plainLatents([batch, inChannels, frames, rows, columns]),
      schedule: { numInferenceSteps: settings.numInferenceSteps },
      inputsAt: (latents, timestep) => ({ hidden_states: latents, timestep: perSample(latents, timestep) }),
    };
  },
});
