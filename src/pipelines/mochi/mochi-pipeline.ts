/** Mochi 1: text to video, read by T5. Diffusers' `MochiPipeline`. */
import type { ConfigReader } from '../../models/config-reader.ts';
import { floatTensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { latentFrames, perSample } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { padTexts } from '../request/text-encoder.ts';
import { aToken } from '../schema/sizes.ts';

/** Down to which share of the noise the first half of the steps goes, in equal ones; the others get larger and larger. */
const slowUntil = 0.025;

/** Noise levels whose first half are equal steps from 1, and whose second half is a parabola that goes on from there. */
function linearThenQuadratic(steps: number): number[] {
  const equal = Math.floor(steps / 2);
  const others = steps - equal;
  const rest = equal - slowUntil * steps;
  const square = rest / (equal * others ** 2);
  const slope = slowUntil / equal - (2 * rest) / others ** 2;
  const offset = square * equal ** 2;
  return Array.from({ length: steps }, (_, i) =>
    i < equal ? 1 - (i * slowUntil) / equal : 1 - (square * i ** 2 + slope * i + offset),
  );
}

export const mochiPipeline = definePipeline({
  classNames: ['MochiPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('MochiTransformer3DModel'),
  },
  config: (config: ConfigReader) => ({ hidesEmpty: config.boolean('force_zeros_for_empty_prompt', false) }),
  output: 'videos',

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'], masks: ['promptAttentionMask'] },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 64, min: 2 },
      height: { default: 480, multipleOf: aToken },
      width: { default: 848, multipleOf: aToken },
      numFrames: { default: 19 },
      guidanceScale: { default: 4.5 },
      maxSequenceLength: { default: 256 },
    },
  },

  plan({ parts: { textEncoder, transformer, vae }, config, settings, reading, warnings }) {
    const { batch, height, width, maxSequenceLength: maxLength } = settings;
    const { inChannels, patch } = transformer.traits;
    const frames = latentFrames(settings.numFrames, { vae, warnings, roundDown: true });
    const [rows, columns] = [height / vae.spatialScale, width / vae.spatialScale];
    return {
      tokens: (frames * rows * columns) / (patch[1] * patch[2]) + maxLength,
      frames: 1 + (frames - 1) * (vae.traits.temporalScale ?? 1),
      fps: 30,
      embed: async ({ texts: [texts], embeds }) => {
        if (embeds)
          return { encoder_hidden_states: embeds.promptEmbeds, encoder_attention_mask: embeds.promptAttentionMask };
        const each = await textEncoder.encodeEach(texts!, { maxLength, ...reading });
        const { embeds: hidden, mask } = padTexts(each, maxLength);
        // As in Diffusers, an empty text at the end hides all of them.
        const isHidden = config.hidesEmpty && texts!.at(-1) === '';
        const none = floatTensor(new Float32Array(mask.size), mask.shape);
        return { encoder_hidden_states: hidden, encoder_attention_mask: isHidden ? none : mask };
      },
      latents: plainLatents([batch, inChannels, frames, rows, columns]),
      schedule: { sigmas: linearThenQuadratic(settings.numInferenceSteps) },
      jointCalls: true,
      inputsAt: (latents, timestep) => ({ hidden_states: latents, timestep: perSample(latents, timestep) }),
    };
  },
});
