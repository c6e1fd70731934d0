/**
 * Inpainting with FLUX.1 as it is: after every step what the mask leaves is put back, noised as far as the rest. Diffusers'
 * `FluxInpaintPipeline`.
 */
import { definePipeline } from '../define-pipeline.ts';
import { inpainted } from '../request/inpaint.ts';
import { packedLatents } from '../request/packing.ts';
import { flowSchedule } from '../request/schedule.ts';
import { inpainting } from '../schema/sizes.ts';
import { embedFlux, fluxComponents, fluxInputs } from './calls.ts';
import { fluxConditions, fluxGuidance, fluxOptions } from './options.ts';

export const fluxInpaintPipeline = definePipeline({
  classNames: ['FluxInpaintPipeline'],
  components: fluxComponents,

  options: {
    conditions: fluxConditions,
    guidance: fluxGuidance,
    options: {
      ...fluxOptions(7),
      trueCfgScale: { default: 1 },
      ...inpainting(0.6),
    },
  },

  async plan({ parts, settings, reading }) {
    const { transformer, vae, scheduler } = parts;
    const { batch, maxSequenceLength, guidanceScale } = settings;
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    const latents = packedLatents([batch, vae.latentChannels, rows, columns]);
    const tokens = (rows * columns) / 4;
    return {
      tokens: tokens + maxSequenceLength,
      embed: (condition) => embedFlux(parts, condition, { maxLength: maxSequenceLength, ...reading }),
      latents,
      schedule: flowSchedule(settings, { scheduler, tokens }),
      ...(await inpainted({ latents, vae, settings })),
      inputsAt: fluxInputs(transformer, { rows: rows / 2, columns: columns / 2, guidanceScale }),
    };
  },
});
