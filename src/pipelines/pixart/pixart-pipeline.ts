/** PixArt-α and PixArt-Σ: text to image with T5. Diffusers' `PixArtAlphaPipeline` and `PixArtSigmaPipeline`. */
import { imagesFromTensor } from '../../images/image.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import { floatTensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { guidanceBranches } from '../request/conditions.ts';
import { guidedBy } from '../request/guidance.ts';
import { firstChannels, perSample, rawLatents } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { givenSchedule } from '../request/schedule.ts';
import { embedMasked, equalLengths } from '../request/text-encoder.ts';
import { textLength, trainedEdge, whereNoTextIsRead } from '../schema/sizes.ts';
import { cleanCaption, lowerCased } from '../texts/clean-caption.ts';
import { drawnSize, resizeAndCrop, type Size } from './aspect-ratios.ts';

export const pixartSigmaPipeline = pixart('PixArtSigmaPipeline', { trainedTokens: 300 });
export const pixartAlphaPipeline = pixart('PixArtAlphaPipeline', { trainedTokens: 120 });

function pixart(className: string, { trainedTokens }: { trainedTokens: number }) {
  return definePipeline({
    classNames: [className],
    components: {
      scheduler: scheduler(),
      textEncoder: textEncoder(),
      vae: autoencoder(),
      transformer: transformer('PixArtTransformer2DModel'),
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
        maxSequenceLength: textLength(trainedTokens, 'textEncoder'),
        cleanCaption: { default: true, idle: whereNoTextIsRead },
      },
    },

    plan({ parts: { textEncoder, transformer, vae }, settings, reading }) {
      const { conditions, batch, numImages, maxSequenceLength, guidanceScale } = settings;
      const { inChannels, patch, sizeConditions } = transformer.traits;
      const size = drawnSize(settings, { transformer, vae });
      const [rows, columns] = [size.height / vae.spatialScale, size.width / vae.spatialScale];
      const options = { maxLength: maxSequenceLength, ...reading };
      const prepare = settings.cleanCaption ? cleanCaption : lowerCased;
      return {
        tokens: (rows * columns) / patch[1] ** 2,
        size,
        // Branches in one call need one number of tokens; the mask hides what is added.
        encode: async () =>
          equalLengths(
            await guidanceBranches(conditions, numImages, (condition) =>
              embedMasked(textEncoder, condition, { prepare, ...options }),
            ),
          ),
        latents: plainLatents([batch, inChannels, rows, columns]),
        schedule: givenSchedule(settings),
        jointCalls: true,
        inputsAt: (latents, timestep) => ({
          hidden_states: latents,
          timestep: perSample(latents, timestep),
          ...(sizeConditions ? { added_cond_kwargs: sizeConditionsOf(size, latents.dim(0)) } : {}),
        }),
        combine: (outputs) => guidedBy(guidanceScale)(outputs.map((output) => firstChannels(output, inChannels))),
        decode: async (latents, signal) => {
          const pictures = await vae.decode(rawLatents(latents, vae), { signal });
          return { images: imagesFromTensor(resizeAndCrop(pictures, settings)) };
        },
      };
    },
  });
}

/** What models at 1024 pixels are told of the picture they draw. */
function sizeConditionsOf({ height, width }: Size, batch: number): ForwardInputs {
  const each = <T>(row: readonly T[]): T[] => Array<readonly T[]>(batch).fill(row).flat();
  return {
    resolution: floatTensor(each([height, width]), [batch, 2]),
    aspect_ratio: floatTensor(each([height / width]), [batch, 1]),
  };
}
