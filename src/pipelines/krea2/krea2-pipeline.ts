/** Krea 2: text to image, the text read by several layers of a vision-language model under an instruction. Diffusers' `Krea2Pipeline`. */
import { DejaDitError } from '../../errors/errors.ts';
import type { ConfigReader } from '../../models/config-reader.ts';
import { join } from '../../tensor/slices.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { imageIds, textIds } from '../flux/positions.ts';
import { guideBeyond } from '../request/guidance.ts';
import { perSample } from '../request/latents.ts';
import { packedLatents } from '../request/packing.ts';
import { flowSigmas, resolutionShift } from '../request/schedule.ts';
import { padTexts } from '../request/text-encoder.ts';
import { twoLatents } from '../schema/sizes.ts';

/** The conversation that the model was trained with; the tokens before the prompt are read, but not passed on. */
const instruction =
  'Describe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the objects and background:';
const opening = `<|im_start|>system\n${instruction}<|im_end|>\n<|im_start|>user\n`;
const ending = '<|im_end|>\n<|im_start|>assistant\n';
const openingTokens = 34;
const endingTokens = 5;

/** Of the few-step models, whatever the size of the picture. */
const distilledShift = 1.15;

const readConfig = (config: ConfigReader) => {
  config.requires('patch_size', 2);
  return {
    distilled: config.boolean('is_distilled', false),
    layers: config.nullable('text_encoder_select_layers', (name) => config.numbers(name)) ?? [
      2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 32, 35,
    ],
  };
};

export const krea2Pipeline = definePipeline({
  classNames: ['Krea2Pipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('Krea2Transformer2DModel'),
  },
  config: readConfig,

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'], masks: ['promptEmbedsMask'] },
    guidance: { option: 'guidanceScale', above: 0 },
    options: {
      numInferenceSteps: { default: 28 },
      height: { default: 1024, multipleOf: twoLatents },
      width: { default: 1024, multipleOf: twoLatents },
      sigmas: {},
      guidanceScale: { default: 4.5 },
      maxSequenceLength: { default: 512, min: endingTokens + 1 },
    },
  },

  plan({ parts: { textEncoder, transformer, vae, scheduler }, config, settings, reading }) {
    const { batch, guidanceScale: scale, maxSequenceLength, numInferenceSteps: steps } = settings;
    const { inChannels, textLayers } = transformer.traits;
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    const tokens = (rows * columns) / 4;
    if (config.layers.length !== textLayers) {
      const message = `names ${config.layers.length} layers, but the transformer takes ${textLayers}`;
      throw new DejaDitError('INVALID_CONFIG', message, { path: 'text_encoder_select_layers' });
    }
    return {
      tokens: tokens + maxSequenceLength,
      // Padding, which Diffusers puts before the ending, is hidden from the model, so there is none.
      embed: async ({ texts: [texts], embeds }) => {
        if (embeds)
          return { encoder_hidden_states: embeds['promptEmbeds'], encoder_attention_mask: embeds['promptEmbedsMask'] };
        const each = await textEncoder.encodeEach(
          texts!.map((text) => opening + text),
          {
            maxLength: maxSequenceLength - endingTokens,
            templateTokens: openingTokens,
            suffix: ending,
            hiddenState: config.layers,
            ...reading,
          },
        );
        const { embeds: hidden, mask } = padTexts(each);
        const layers = hidden.reshape([...hidden.shape.slice(0, 2), config.layers.length, -1]);
        return { encoder_hidden_states: layers, encoder_attention_mask: mask };
      },
      latents: packedLatents([batch, inChannels / 4, rows, columns]),
      schedule: {
        sigmas: settings.sigmas ?? flowSigmas(steps),
        mu: config.distilled ? distilledShift : resolutionShift(scheduler, tokens),
      },
      inputsAt: (latents, timestep, { encoder_hidden_states }) => ({
        hidden_states: latents,
        timestep: perSample(latents, Math.fround(timestep) / Number(scheduler.config['num_train_timesteps'] ?? 1000)),
        position_ids: join([textIds((encoder_hidden_states as Tensor).dim(1)), imageIds(rows / 2, columns / 2)], 0),
      }),
      combine: ([cond, uncond]) => (uncond ? guideBeyond(cond!, uncond, { scale, maxNorm: 0 }) : cond!),
    };
  },
});
