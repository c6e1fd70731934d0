/** CogView4: text to image, read by GLM, with what the picture was cut from as a condition. Diffusers' `CogView4Pipeline`. */
import type { Scheduler, SetTimestepsOptions } from '../../schedulers/scheduler.ts';
import { linspace } from '../../schedulers/spacing/sigma-spacing.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { perSample } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { edges } from '../schema/sizes.ts';

/** Texts are padded to multiples of it, in front, with tokens that the encoder reads as text. */
const textMultiple = 16;

export const cogView4Pipeline = definePipeline({
  classNames: ['CogView4Pipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('CogView4Transformer2DModel'),
  },

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'] },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 50 },
      ...edges(128),
      sigmas: {},
      timesteps: {},
      guidanceScale: { default: 5 },
      originalSize: {},
      cropsCoordsTopLeft: {},
      maxSequenceLength: { default: 1024 },
    },
  },

  plan({ parts: { textEncoder, transformer, vae, scheduler }, settings, reading }) {
    const { batch, maxSequenceLength, height, width, originalSize = [height, width], cropsCoordsTopLeft } = settings;
    const { inChannels, patch } = transformer.traits;
    const [rows, columns] = [height / vae.spatialScale, width / vae.spatialScale];
    const tokens = (rows * columns) / patch[1] ** 2;
    const sizes = { original_size: originalSize, target_size: [height, width], crop_coords: cropsCoordsTopLeft! };
    return {
      tokens: tokens + maxSequenceLength,
      embed: async ({ texts: [texts], embeds }) => {
        if (embeds) return { encoder_hidden_states: embeds.promptEmbeds };
        const options = { maxLength: maxSequenceLength, hiddenState: -2, ...reading };
        return { encoder_hidden_states: (await textEncoder.encodePaddedInFront(texts!, textMultiple, options)).hidden };
      },
      latents: plainLatents([batch, inChannels, rows, columns]),
      schedule: schedule(settings, { scheduler, tokens }),
      inputsAt: (latents, timestep) => ({
        hidden_states: latents,
        timestep: perSample(latents, timestep),
        ...Object.fromEntries(Object.entries(sizes).map(([name, size]) => [name, eachRow(size, latents)])),
      }),
    };
  },
});

/** Whole times, and levels that are shifted by the root of the picture's tokens; the times are not shifted with them. */
function schedule(
  { numInferenceSteps, timesteps, sigmas }: { numInferenceSteps: number } & SetTimestepsOptions,
  { scheduler: { config }, tokens }: { scheduler: Scheduler; tokens: number },
): SetTimestepsOptions {
  const trained = Number(config['num_train_timesteps'] ?? 1000);
  const times = (timesteps ?? [...linspace(trained, 1, numInferenceSteps)]).map(Math.trunc);
  const root = Math.sqrt(tokens / Number(config['base_image_seq_len'] ?? 256));
  return {
    timesteps: times,
    sigmas: sigmas ?? times.map((time) => time / trained),
    mu: root * Number(config['max_shift'] ?? 0.75) + Number(config['base_shift'] ?? 0.25),
  };
}

function eachRow(row: readonly number[], latents: Tensor): Tensor {
  const batch = latents.dim(0);
  return floatTensor(Array<readonly number[]>(batch).fill(row).flat(), [batch, row.length]);
}
