/** Bria 3.2: text to image with T5, whose texts are padded with zeros. Diffusers' `BriaPipeline`. */
import type { Scheduler, SetTimestepsOptions } from '../../schedulers/scheduler.ts';
import { linspace } from '../../schedulers/spacing/sigma-spacing.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { imageIds, textIds } from '../flux/positions.ts';
import { guidedBy, rescaled } from '../request/guidance.ts';
import { perSample } from '../request/latents.ts';
import { packedLatents } from '../request/packing.ts';
import { flowSigmas, resolutionShift } from '../request/schedule.ts';
import { padTexts } from '../request/text-encoder.ts';
import { edges, textLength, withoutGuidance } from '../schema/sizes.ts';

/** How far `normalize` brings the spread of what guidance makes back. */
const normalizedShare = 0.7;

export const briaPipeline = definePipeline({
  classNames: ['BriaPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('BriaTransformer2DModel'),
  },

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'] },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 30 },
      ...edges(128),
      guidanceScale: { default: 5 },
      maxSequenceLength: textLength(128, 'textEncoder'),
      clipValue: {},
      normalize: { default: false, idle: withoutGuidance },
    },
  },

  plan({ parts: { textEncoder, transformer, vae, scheduler }, settings, reading }) {
    const { batch, conditions, guidanceScale, normalize, clipValue = 0 } = settings;
    const given = conditions.positive.embeds?.['promptEmbeds'] as Tensor | undefined;
    // Both branches share a call.
    const maxLength = given?.dim(1) ?? settings.maxSequenceLength;
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    const tokens = (rows * columns) / 4;
    const guided = guidedBy(guidanceScale);
    return {
      tokens: tokens + maxLength,
      embed: async ({ texts: [texts], embeds }, isNegative) => {
        if (embeds) return { encoder_hidden_states: embeds['promptEmbeds'] };
        const each = await textEncoder.encodeEach(texts!, { maxLength, ...reading });
        // Zeros stand for no negative prompt, and for an empty one.
        const told = each.map((text, i) => (isNegative && texts![i] === '' ? zerosLike(text) : text));
        return { encoder_hidden_states: padTexts(told, maxLength).embeds };
      },
      latents: packedLatents([batch, transformer.traits.inChannels / 4, rows, columns]),
      schedule: briaSchedule(scheduler, { steps: settings.numInferenceSteps, tokens }),
      jointCalls: true,
      inputsAt: (latents, timestep, { encoder_hidden_states }) => ({
        hidden_states: latents,
        timestep: perSample(latents, timestep),
        txt_ids: textIds((encoder_hidden_states as Tensor).dim(1)),
        img_ids: imageIds(rows / 2, columns / 2),
      }),
      combine: (outputs) => {
        const whole = guided(outputs);
        return clipped(normalize ? rescaled(whole, outputs[0]!, normalizedShare) : whole, clipValue);
      },
    };
  },
});

/** Levels of flows shifted by the size of the picture, or such as the model was trained at; diffusion lays out its own. */
function briaSchedule(scheduler: Scheduler, { steps, tokens }: { steps: number; tokens: number }): SetTimestepsOptions {
  const { className, config } = scheduler;
  if (config['use_dynamic_shifting']) return { sigmas: flowSigmas(steps), mu: resolutionShift(scheduler, tokens) };
  if (!className.startsWith('FlowMatch')) return { numInferenceSteps: steps };
  const trained = Number(config['num_train_timesteps'] ?? 1000);
  return { sigmas: Array.from(linspace(0, trained - 1, steps), (index) => (trained - Math.trunc(index)) / trained) };
}

function zerosLike({ size, shape }: Tensor): Tensor {
  return floatTensor(new Float32Array(size), shape);
}

/** Within ±limit. @param limit 0: none */
function clipped(output: Tensor, limit: number): Tensor {
  if (limit === 0) return output;
  return floatTensor(
    output.f32.map((value) => Math.min(Math.max(value, -limit), limit)),
    output.shape,
  );
}
