/**
 * FLUX.1 Fill: what of a picture a mask covers is drawn anew. The transformer gets the rest of the picture and the mask as channels beside
 * the latents. Diffusers' `FluxFillPipeline`.
 */
import { join } from '../../tensor/slices.ts';
import { definePipeline } from '../define-pipeline.ts';
import { loadMasks, maskChannels, maskedPictures } from '../request/masks.ts';
import { packedLatents, packLatents } from '../request/packing.ts';
import { flowSchedule } from '../request/schedule.ts';
import { encodePictures, loadPixels, startFromImages } from '../request/start-images.ts';
import { repeatToRows } from '../request/tensors.ts';
import { inpainting } from '../schema/sizes.ts';
import { embedFlux, fluxComponents, fluxInputs } from './calls.ts';
import { fluxConditions, fluxOptions } from './options.ts';

export const fluxFillPipeline = definePipeline({
  classNames: ['FluxFillPipeline'],
  components: fluxComponents,

  options: {
    conditions: { ...fluxConditions, positiveOnly: true },
    options: {
      ...fluxOptions(30),
      numInferenceSteps: { default: 50 },
      ...inpainting(1),
    },
  },

  async plan({ parts, settings, reading }) {
    const { transformer, vae, scheduler } = parts;
    const { batch, maxSequenceLength, guidanceScale, signal } = settings;
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    const latents = packedLatents([batch, vae.latentChannels, rows, columns]);
    const pixels = await loadPixels(settings.image, settings);
    const masks = await loadMasks(settings.maskImage!, settings);
    const tokens = (rows * columns) / 4;
    return {
      tokens: tokens + maxSequenceLength,
      embed: (condition) => embedFlux(parts, condition, { maxLength: maxSequenceLength, ...reading }),
      latents,
      schedule: flowSchedule(settings, { scheduler, tokens }),
      start: async (noise, ownScheduler) => {
        const start = await startFromImages(ownScheduler, { pixels, latents, settings, vae, noise });
        const rest = await encodePictures(maskedPictures(pixels, masks), { vae, batch, noise, signal });
        const mask = repeatToRows(packLatents(maskChannels(masks, vae.spatialScale)), batch);
        return { ...start, channels: join([packLatents(rest), mask], 2) };
      },
      inputsAt: fluxInputs(transformer, { rows: rows / 2, columns: columns / 2, guidanceScale }),
    };
  },
});
