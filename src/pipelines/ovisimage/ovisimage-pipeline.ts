/** Ovis-Image: text to image, the text read by Qwen3 under an instruction. Diffusers' `OvisImagePipeline`. */
import type { Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { diagonalIds, imageIds } from '../flux/positions.ts';
import { perSample } from '../request/latents.ts';
import { packedLatents } from '../request/packing.ts';
import { flowSchedule } from '../request/schedule.ts';
import { padTexts } from '../request/text-encoder.ts';
import { edges } from '../schema/sizes.ts';

/** What the model was trained with; the tokens before the prompt are read, but not passed on. */
const instruction =
  'Describe the image by detailing the color, quantity, text, shape, size, texture, spatial relationships of the objects and background: ';
const templateTokens = 28;

export const ovisImagePipeline = definePipeline({
  classNames: ['OvisImagePipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('OvisImageTransformer2DModel'),
  },

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'] },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 50 },
      ...edges(128),
      sigmas: {},
      guidanceScale: { default: 5 },
      maxSequenceLength: { default: 256, max: 256 },
    },
  },

  plan({ parts: { textEncoder, transformer, vae, scheduler }, settings, reading }) {
    const { batch, maxSequenceLength } = settings;
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    const tokens = (rows * columns) / 4;
    return {
      tokens: tokens + maxSequenceLength,
      embed: async ({ texts: [texts], embeds }) => {
        if (embeds) return { encoder_hidden_states: embeds.promptEmbeds };
        const template = { addGenerationPrompt: true, variables: { enable_thinking: false } };
        const questions = texts!.map((text) =>
          textEncoder.tokenizer.applyChatTemplate([{ role: 'user', content: instruction + text }], template),
        );
        const options = { maxLength: maxSequenceLength, templateTokens, addSpecialTokens: false, ...reading };
        const each = await textEncoder.encodeEach(await Promise.all(questions), options);
        // The model attends to padding, and was trained to find zeros there.
        return { encoder_hidden_states: padTexts(each, maxSequenceLength).embeds };
      },
      latents: packedLatents([batch, transformer.traits.inChannels / 4, rows, columns]),
      schedule: flowSchedule(settings, { scheduler, tokens }),
      inputsAt: (latents, timestep, { encoder_hidden_states }) => ({
        hidden_states: latents,
        timestep: perSample(latents, Math.fround(timestep) / 1000),
        img_ids: imageIds(rows / 2, columns / 2),
        txt_ids: diagonalIds((encoder_hidden_states as Tensor).dim(1)),
      }),
    };
  },
});
