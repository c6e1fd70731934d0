/** AuraFlow: text to image, read by UMT5. Diffusers' `AuraFlowPipeline`. */
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { perSample } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { givenSchedule } from '../request/schedule.ts';
import { trainedEdge, twoLatents } from '../schema/sizes.ts';

const edge = { ...trainedEdge, multipleOf: twoLatents };

export const auraFlowPipeline = definePipeline({
  classNames: ['AuraFlowPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('AuraFlowTransformer2DModel'),
  },

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'], masks: ['promptAttentionMask'] },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 50 },
      height: edge,
      width: edge,
      sigmas: {},
      guidanceScale: { default: 3.5 },
      maxSequenceLength: { default: 256 },
    },
  },

  plan({ parts: { textEncoder, transformer, vae }, settings, reading }) {
    const { batch, maxSequenceLength } = settings;
    const { inChannels, patch } = transformer.traits;
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    return {
      tokens: (rows * columns) / patch[1] ** 2 + maxSequenceLength,
      embed: async ({ texts: [texts], embeds }) => {
        if (embeds) return { encoder_hidden_states: embeds.promptEmbeds };
        const options = { maxLength: maxSequenceLength, masked: true, ...reading };
        const { hidden, mask } = await textEncoder.encodePadded(texts!, options);
        return { encoder_hidden_states: withoutPadding(hidden, mask) };
      },
      latents: plainLatents([batch, inChannels, rows, columns]),
      schedule: givenSchedule(settings),
      jointCalls: true,
      inputsAt: (latents, timestep) => ({
        hidden_states: latents,
        timestep: perSample(latents, Math.fround(timestep) / 1000),
      }),
    };
  },
});

/** The model attends to padding too, and was trained to find zeros there. */
function withoutPadding(hidden: Tensor, mask: Tensor): Tensor {
  const width = hidden.dim(2);
  return floatTensor(
    hidden.f32.map((value, i) => value * mask.f32[Math.floor(i / width)]!),
    hidden.shape,
  );
}
