/** PRX: text to image, a cleaned caption read by T5Gemma. Diffusers' `PRXPipeline`. */
import { DejaDitError } from '../../errors/errors.ts';
import { imagesFromTensor } from '../../images/image.ts';
import type { ConfigReader } from '../../models/config-reader.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { nearestSize, resizeAndCrop, type Size, wholeTokens } from '../pixart/aspect-ratios.ts';
import { guidanceBranches } from '../request/conditions.ts';
import { perSample, rawLatents } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { givenSchedule } from '../request/schedule.ts';
import { embedMasked, equalLengths, type TextEncoder } from '../request/text-encoder.ts';
import { fromModel } from '../schema/pipeline-options.ts';
import { whereNoTextIsRead } from '../schema/sizes.ts';
import { cleanCaptionWithTags, cleanLightly } from '../texts/clean-caption.ts';

/** Height × width for each ratio, by the edge of square pictures, in units of 32 pixels. */
const trainedSizes: Readonly<Record<number, string>> = {
  256: '5×11 6×10 7×9 8×8 9×7 10×6 11×5',
  512: '11×22 12×21 12×20 13×19 14×18 15×17 16×16 17×15 18×14 19×13 20×12 21×12 22×11',
  1024:
    '22×45 23×44 23×43 24×42 24×41 25×40 26×39 26×38 28×36 29×35 31×33 32×32 33×31 34×30 35×29 36×28 37×27 38×26 39×26 41×24 42×24 ' +
    '43×23 44×23 45×22',
};

const edge = {
  default: fromModel('default_sample_size', ({ config }: { readonly config: PRXConfig }) => config.sampleSize),
};

interface PRXConfig {
  /** Edge in pixels of what it was trained on. */
  sampleSize: number;
}

function readPRX(config: ConfigReader): PRXConfig {
  return { sampleSize: config.integer('default_sample_size', 512) };
}

export const prxPipeline = definePipeline({
  classNames: ['PRXPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('PRXTransformer2DModel'),
  },
  config: readPRX,

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'], masks: ['promptAttentionMask'] },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 28 },
      height: edge,
      width: edge,
      useResolutionBinning: { default: true },
      timesteps: {},
      guidanceScale: { default: 4 },
      tokenizerMaxLength: {
        default: fromModel('model_max_length of the tokenizer', ({ textEncoder }: { textEncoder: TextEncoder }) =>
          Math.min(8192, textEncoder.tokenizer.modelMaxLength),
        ),
      },
      skipTextCleaning: { default: false, idle: whereNoTextIsRead },
    },
  },

  plan({ parts: { textEncoder, transformer, vae, scheduler }, config, settings, reading }) {
    const { conditions, batch, numImages, tokenizerMaxLength, skipTextCleaning } = settings;
    const { patch } = transformer.traits;
    const size = settings.useResolutionBinning
      ? nearestTrained(settings, config.sampleSize)
      : wholeTokens(settings, { transformer, vae });
    const [rows, columns] = [size.height / vae.spatialScale, size.width / vae.spatialScale];
    const prepare = skipTextCleaning ? cleanLightly : cleanCaptionWithTags;
    const times = Number(scheduler.config['num_train_timesteps'] ?? 1000);
    return {
      tokens: (rows * columns) / patch[1] ** 2 + tokenizerMaxLength,
      size,
      encode: async () =>
        equalLengths(
          await guidanceBranches(conditions, numImages, async (condition) => {
            const options = { prepare, maxLength: tokenizerMaxLength, ...reading };
            const { encoder_attention_mask, ...text } = await embedMasked(textEncoder, condition, options);
            return { ...text, attention_mask: encoder_attention_mask };
          }),
        ),
      latents: plainLatents([batch, vae.latentChannels, rows, columns]),
      schedule: givenSchedule(settings),
      jointCalls: true,
      inputsAt: (latents, timestep) => ({
        hidden_states: latents,
        timestep: perSample(latents, Math.fround(timestep) / times),
      }),
      decode: async (latents, signal) => {
        const pictures = await vae.decode(rawLatents(latents, vae), { signal });
        return { images: imagesFromTensor(resizeAndCrop(pictures, settings)) };
      },
    };
  },
});

/** The trained size whose ratio is nearest. */
function nearestTrained(asked: Size, edge: number): Size {
  const sizes = trainedSizes[edge];
  if (!sizes)
    throw new DejaDitError('INVALID_ARGUMENT', `pictures of ${edge} pixels have no trained sizes; pass false`, {
      path: 'useResolutionBinning',
    });
  return nearestSize(asked, { sizes, unit: 32 });
}
