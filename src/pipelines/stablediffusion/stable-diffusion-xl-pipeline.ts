/**
 * Stable Diffusion XL and SDXL-Turbo: text, read by two CLIP encoders, and optionally a starting image, to image. Diffusers'
 * `StableDiffusionXLPipeline` and `StableDiffusionXLImg2ImgPipeline` in one, and its `StableDiffusionXLInpaintPipeline`. Refiners and watermarks are not built.
 */
import type { ForwardInputs } from '../../models/inputs.ts';
import { join } from '../../tensor/slices.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { autoencoder, named, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import type { Condition } from '../request/conditions.ts';
import { plainLatents } from '../request/plan.ts';
import { givenSchedule } from '../request/schedule.ts';
import { affine } from '../request/tensors.ts';
import type { EncodeTextOptions, TextEncoder } from '../request/text-encoder.ts';
import { clipSkip, inpainting, promptWeighting, startImage } from '../schema/sizes.ts';
import { pixelEdge, unetInputs } from './calls.ts';
import { inpaintedByUNet, maybeStartedByUNet, type StartingImage } from './inpaint.ts';

export const stableDiffusionXLPipeline = stableDiffusionXL(
  ['StableDiffusionXLPipeline', 'StableDiffusionXLImg2ImgPipeline'],
  { guidanceScale: 5, pictures: startImage(0.3), from: maybeStartedByUNet },
);
export const stableDiffusionXLInpaintPipeline = stableDiffusionXL(['StableDiffusionXLInpaintPipeline'], {
  guidanceScale: 7.5,
  pictures: inpainting(0.9999),
  from: inpaintedByUNet,
});

function stableDiffusionXL(
  classNames: readonly [string, ...string[]],
  { guidanceScale, pictures, from }: StartingImage & { guidanceScale: number },
) {
  return definePipeline({
    classNames,
    components: {
      scheduler: scheduler(),
      textEncoder: textEncoder(),
      textEncoder2: textEncoder(),
      vae: autoencoder(),
      transformer: named('unet', transformer('UNet2DConditionModel')),
    },
    config: (config) => ({ emptyIsZero: config.boolean('force_zeros_for_empty_prompt', true) }),

    options: {
      conditions: { texts: ['prompt', 'prompt2'], embeds: ['promptEmbeds', 'pooledPromptEmbeds'] },
      guidance: { option: 'guidanceScale' },
      options: {
        numInferenceSteps: { default: 50 },
        height: pixelEdge,
        width: pixelEdge,
        timesteps: {},
        sigmas: {},
        guidanceScale: { default: guidanceScale },
        clipSkip,
        promptWeighting,
        originalSize: {},
        targetSize: {},
        cropsCoordsTopLeft: {},
        ...pictures,
      },
    },

    async plan({ parts, config, settings, reading }) {
      const { transformer, vae } = parts;
      const { batch, clipSkip, height, width } = settings;
      const { originalSize = [height, width], cropsCoordsTopLeft = [0, 0], targetSize = [height, width] } = settings;
      const [rows, columns] = [height / vae.spatialScale, width / vae.spatialScale];
      const latents = plainLatents([batch, vae.latentChannels, rows, columns]);
      const sizes = [...originalSize, ...cropsCoordsTopLeft, ...targetSize];
      // Without any negative prompt the model was trained with zeros in its place, unlike for an empty one.
      const zeros = config.emptyIsZero && settings.negativePrompt === undefined && !settings.negativePromptEmbeds;
      return {
        tokens: rows * columns,
        embed: async (condition, isNegative) => {
          const [hidden, pooled] = await embedSDXL(parts, condition, {
            // As in Diffusers, the negative prompt is read by all of CLIP's layers but the last.
            hiddenState: isNegative ? -2 : -2 - clipSkip,
            ...reading,
          });
          const told = (x: Tensor) => (isNegative && zeros ? affine(x, { scale: 0 }) : x);
          const { count } = condition;
          return {
            encoder_hidden_states: told(hidden),
            added_cond_kwargs: {
              text_embeds: told(pooled),
              time_ids: floatTensor(Array<number[]>(count).fill(sizes).flat(), [count, sizes.length]),
            },
          } satisfies ForwardInputs;
        },
        latents,
        schedule: givenSchedule(settings),
        ...(await from({ transformer, vae, latents, settings })),
        jointCalls: true,
        inputsAt: unetInputs(),
      };
    },
  });
}

/** Tokens of both encoders side by side, and the second one's summary. What the first has to cut is cut by the second too. */
async function embedSDXL(
  { textEncoder: first, textEncoder2: second }: { textEncoder: TextEncoder; textEncoder2: TextEncoder },
  { texts, embeds }: Condition,
  options: Omit<EncodeTextOptions, 'maxLength'>,
): Promise<[hidden: Tensor, pooled: Tensor]> {
  if (embeds) return [embeds['promptEmbeds'] as Tensor, embeds['pooledPromptEmbeds'] as Tensor];
  const read = (encoder: TextEncoder, i: number) =>
    encoder.encodePadded(texts[i]!, { maxLength: encoder.tokenizer.modelMaxLength, ...options });
  const [a, b] = [await read(first, 0), await read(second, 1)];
  return [join([a.hidden, b.hidden], 2), b.pooled!];
}
