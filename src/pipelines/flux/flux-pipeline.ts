/**
 * FLUX.1: text, and optionally a starting image, to image. Diffusers' `FluxPipeline` and `FluxImg2ImgPipeline` in one, with
 * their defaults, the same noise for a seed and the same order of draws.
 */
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { definePipeline } from '../define-pipeline.ts';
import { packedLatents } from '../request/packing.ts';
import { flowSigmas, resolutionShift } from '../request/schedule.ts';
import { maybeFromImages } from '../request/start-images.ts';
import { fromModel } from '../schema/pipeline-options.ts';
import { startImage, twoLatents } from '../schema/sizes.ts';
import { embedFlux, fluxComponents, fluxInputs } from './calls.ts';
import { fluxConditions, fluxGuidance, fluxOptions } from './options.ts';

const edge = {
  default: fromModel(
    "the autoencoder's sample_size",
    ({ vae }: { vae: Autoencoder }) => vae.traits.sampleSize ?? 128 * vae.spatialScale,
  ),
  multipleOf: twoLatents,
};

export const fluxPipeline = definePipeline({
  classNames: ['FluxPipeline', 'FluxImg2ImgPipeline'],
  components: fluxComponents,

  options: {
    conditions: fluxConditions,
    guidance: fluxGuidance,
    options: {
      ...fluxOptions(3.5),
      height: edge,
      width: edge,
      trueCfgScale: { default: 1 },
      sigmas: {
        unused: {
          because: 'as the scheduler of this checkpoint lays out its own (use_flow_sigmas)',
          when: ({ scheduler }) => hasFlowSigmas(scheduler),
        },
      },
      ...startImage(0.6),
    },
  },

  async plan({ parts, settings, reading }) {
    const { transformer, vae, scheduler } = parts;
    const { batch, numInferenceSteps: steps, maxSequenceLength } = settings;
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    const tokens = (rows * columns) / 4;
    const latents = packedLatents([batch, transformer.traits.inChannels / 4, rows, columns]);
    const levels = hasFlowSigmas(scheduler)
      ? { numInferenceSteps: steps }
      : { sigmas: settings.sigmas ?? flowSigmas(steps) };
    return {
      tokens: tokens + maxSequenceLength,
      embed: (condition) => embedFlux(parts, condition, { maxLength: maxSequenceLength, ...reading }),
      latents,
      schedule: { ...levels, mu: resolutionShift(scheduler, tokens) },
      ...(await maybeFromImages({ latents, vae, settings })),
      inputsAt: fluxInputs(transformer, {
        rows: rows / 2,
        columns: columns / 2,
        guidanceScale: settings.guidanceScale,
      }),
    };
  },
});

/** Whether a scheduler made for images of another kind has been told to lay out levels of flows itself. */
function hasFlowSigmas({ config }: Scheduler): boolean {
  return config['use_flow_sigmas'] === true;
}
