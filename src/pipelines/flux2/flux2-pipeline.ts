/** FLUX.2: text and reference pictures to image, the text read by Mistral under an instruction. Diffusers' `Flux2Pipeline`. */
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { twoLatents } from '../schema/sizes.ts';
import { flux2Plan } from './flux2-plan.ts';

const instruction =
  'You are an AI that reasons about image descriptions. You give structured responses focusing on object relationships, object\nattribution and actions without speculation.';

export const flux2Pipeline = definePipeline({
  classNames: ['Flux2Pipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('Flux2Transformer2DModel'),
  },

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'], positiveOnly: true },
    options: {
      numInferenceSteps: { default: 50 },
      height: { multipleOf: twoLatents },
      width: { multipleOf: twoLatents },
      sigmas: {},
      guidanceScale: { default: 4 },
      image: {},
      textEncoderOutLayers: { default: [10, 20, 30] },
      maxSequenceLength: { default: 512 },
    },
  },

  async plan({ parts, settings, reading }) {
    const { textEncoder } = parts;
    const options = {
      maxLength: settings.maxSequenceLength,
      hiddenState: settings.textEncoderOutLayers,
      paddingSide: 'left' as const,
      addSpecialTokens: false,
      masked: true,
      ...reading,
    };
    const text = (content: string) => [{ type: 'text', text: content }];
    return {
      ...(await flux2Plan(parts, settings)),
      // The transformer sees the padding too.
      embed: async ({ texts: [texts], embeds }) => {
        if (embeds) return { encoder_hidden_states: embeds.promptEmbeds };
        const conversations = texts!.map((prompt) =>
          textEncoder.tokenizer.applyChatTemplate([
            { role: 'system', content: text(instruction) },
            { role: 'user', content: text(prompt.replaceAll('[IMG]', '')) },
          ]),
        );
        const { hidden } = await textEncoder.encodePadded(await Promise.all(conversations), options);
        return { encoder_hidden_states: hidden };
      },
    };
  },
});
