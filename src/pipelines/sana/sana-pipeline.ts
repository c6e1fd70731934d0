/** Sana: text to image on few latents, read by Gemma behind an instruction. Diffusers' `SanaPipeline`. */
import { imagesFromTensor } from '../../images/image.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { drawnSize, resizeAndCrop } from '../pixart/aspect-ratios.ts';
import { guidanceBranches } from '../request/conditions.ts';
import { guidedBy } from '../request/guidance.ts';
import { firstChannels, perSample, rawLatents } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { givenSchedule } from '../request/schedule.ts';
import { equalLengths } from '../request/text-encoder.ts';
import { trainedEdge, whereNoTextIsRead } from '../schema/sizes.ts';
import { complexHumanInstruction, embedSana } from './embed.ts';

export const sanaPipeline = definePipeline({
  classNames: ['SanaPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('SanaTransformer2DModel'),
  },

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'], masks: ['promptAttentionMask'] },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 20 },
      height: trainedEdge,
      width: trainedEdge,
      useResolutionBinning: { default: true },
      sigmas: {},
      timesteps: {},
      guidanceScale: { default: 4.5 },
      complexHumanInstruction: { default: complexHumanInstruction },
      maxSequenceLength: { default: 300 },
      cleanCaption: { default: false, idle: whereNoTextIsRead },
    },
  },

  plan({ parts: { textEncoder, transformer, vae }, settings, reading }) {
    const { conditions, batch, numImages, guidanceScale, maxSequenceLength } = settings;
    const { inChannels, patch, timestepScale = 1 } = transformer.traits;
    const size = drawnSize(settings, { transformer, vae });
    const [rows, columns] = [size.height / vae.spatialScale, size.width / vae.spatialScale];
    const lines = [settings.complexHumanInstruction].flat();
    return {
      tokens: (rows * columns) / patch[1] ** 2,
      size,
      encode: async () =>
        equalLengths(
          await guidanceBranches(conditions, numImages, (condition, isNegative) => {
            const instruction = isNegative ? [] : lines;
            return embedSana(textEncoder, condition, {
              instruction,
              clean: settings.cleanCaption,
              maxLength: maxSequenceLength,
              ...reading,
            });
          }),
        ),
      latents: plainLatents([batch, inChannels, rows, columns]),
      schedule: givenSchedule(settings),
      jointCalls: true,
      inputsAt: (latents, timestep) => ({
        hidden_states: latents,
        timestep: perSample(latents, timestep * timestepScale),
      }),
      combine: (outputs) => guidedBy(guidanceScale)(outputs.map((output) => firstChannels(output, inChannels))),
      decode: async (latents, signal) => {
        const pictures = await vae.decode(rawLatents(latents, vae), { signal });
        return { images: imagesFromTensor(resizeAndCrop(pictures, settings)) };
      },
    };
  },
});
