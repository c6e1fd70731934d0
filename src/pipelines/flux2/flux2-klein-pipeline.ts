/** FLUX.2-klein: the small FLUX.2, read by Qwen3, guided or distilled. Diffusers' `Flux2KleinPipeline`. */
import type { ConfigReader } from '../../models/config-reader.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { guidanceBranches } from '../request/conditions.ts';
import { twoLatents } from '../schema/sizes.ts';
import { flux2Plan } from './flux2-plan.ts';

const readDistilled = (config: ConfigReader) => ({ distilled: config.boolean('is_distilled', false) });

export const flux2KleinPipeline = definePipeline({
  classNames: ['Flux2KleinPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('Flux2Transformer2DModel'),
  },
  config: readDistilled,

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'] },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 50 },
      height: { multipleOf: twoLatents },
      width: { multipleOf: twoLatents },
      sigmas: {},
      guidanceScale: {
        default: 4,
        unused: {
          because: 'as this model was distilled to do without guidance',
          when: ({ config }) => config.distilled,
        },
      },
      image: {},
      textEncoderOutLayers: { default: [9, 18, 27] },
      maxSequenceLength: { default: 512 },
    },
  },

  async plan({ parts, config, settings, reading }) {
    const { textEncoder } = parts;
    const { conditions, numImages } = settings;
    const options = {
      maxLength: settings.maxSequenceLength,
      hiddenState: settings.textEncoderOutLayers,
      masked: true,
      ...reading,
    };
    const template = { addGenerationPrompt: true, variables: { enable_thinking: false } };
    const asked = config.distilled ? { ...conditions, negative: undefined } : conditions;
    return {
      ...(await flux2Plan(parts, settings)),
      // The transformer sees the padding too.
      encode: () =>
        guidanceBranches(asked, numImages, async ({ texts: [texts], embeds }) => {
          if (embeds) return { encoder_hidden_states: embeds.promptEmbeds };
          const questions = texts!.map((content) =>
            textEncoder.tokenizer.applyChatTemplate([{ role: 'user', content }], template),
          );
          const { hidden } = await textEncoder.encodePadded(await Promise.all(questions), options);
          return { encoder_hidden_states: hidden };
        }),
    };
  },
});
