/** ERNIE-Image: text to image, the prompt read by Mistral as it stands. Diffusers' `ErnieImagePipeline`. */
import { imagesFromTensor } from '../../images/image.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { LatentTraits } from '../../models/autoencoders/definition.ts';
import { intTensor, type Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { guidanceBranches } from '../request/conditions.ts';
import { perSample, rawLatents } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { flowSigmas } from '../request/schedule.ts';
import { padTexts } from '../request/text-encoder.ts';
import { twoLatents } from '../schema/sizes.ts';

export const ernieImagePipeline = definePipeline({
  classNames: ['ErnieImagePipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('ErnieImageTransformer2DModel'),
  },

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'], ragged: true },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 50 },
      height: { default: 1024, multipleOf: twoLatents },
      width: { default: 1024, multipleOf: twoLatents },
      guidanceScale: { default: 4 },
    },
  },

  plan({ parts: { textEncoder, transformer, vae }, settings, reading }) {
    const { batch, conditions, numImages, numInferenceSteps: steps } = settings;
    const edge = 2 * vae.spatialScale;
    const [rows, columns] = [settings.height / edge, settings.width / edge];
    const traits = trainedTraits(vae);
    return {
      tokens: (rows * columns) / transformer.traits.patch[1] ** 2,
      encode: async () => {
        const options = { maxLength: textEncoder.tokenizer.modelMaxLength, hiddenState: -2, ...reading };
        const branches = await guidanceBranches(conditions, numImages, async ({ texts: [texts], embeds }) => ({
          each: embeds ? embeds['promptEmbeds'] : await textEncoder.encodeEach(texts!, options),
        }));
        const texts = branches.map(({ inputs }) => inputs['each'] as Tensor[]);
        const longest = Math.max(...texts.flat().map((text) => text.dim(0)));
        return branches.map(({ name }, i) => ({
          name,
          inputs: {
            text_bth: padTexts(texts[i]!, longest).embeds,
            text_lens: intTensor(texts[i]!.map((text) => text.dim(0))),
          },
        }));
      },
      latents: plainLatents([batch, transformer.traits.inChannels, rows, columns]),
      schedule: { sigmas: flowSigmas(steps) },
      jointCalls: true,
      inputsAt: (latents, timestep) => ({ hidden_states: latents, timestep: perSample(latents, timestep) }),
      decode: async (latents, signal) => {
        return { images: imagesFromTensor(await vae.decode(rawLatents(latents, { traits }), { signal })) };
      },
    };
  },
});

/** The model was trained with another epsilon in the statistics of latents than the configs of its autoencoder have. */
function trainedTraits({ model, traits }: Autoencoder): LatentTraits {
  const [given, trained] = [Number(model.config['batch_norm_eps'] ?? 1e-4), 1e-5];
  const deviation = traits.latentsStd?.map((std) => Math.fround(Math.sqrt(std ** 2 - given + trained)));
  return { ...traits, ...(deviation ? { latentsStd: deviation } : {}) };
}
