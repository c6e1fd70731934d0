/**
 * FLUX.3: text and pictures to image, the text read by several layers of a vision-language model. Diffusers' `Flux3ModularPipeline` and
 * `Flux3DistilledModularPipeline`, without what rewrites prompts.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { join } from '../../tensor/slices.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { autoencoder, guider, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { croppedPicture } from '../flux2/pictures.ts';
import { decodeImages, initialLatents, perSample } from '../request/latents.ts';
import { packTokens, tokenLatents } from '../request/packing.ts';
import { flowSigmas } from '../request/schedule.ts';
import { encodePictures, loadImages } from '../request/start-images.ts';
import { idTensor } from '../request/tensors.ts';
import { cutText, type EncodeTextOptions, type TextEncoder } from '../request/text-encoder.ts';
import { guidersScale, twoLatents } from '../schema/sizes.ts';
import { filledPicture } from './filled-picture.ts';

/** Texts are padded to multiples of as many tokens, which the transformer sees too. */
const window = 80;
/** How far apart the tokens of pictures are. */
const step = 0.5;
const defaultEdge = 1024;

export const flux3Pipeline = flux3('Flux3ModularPipeline', { steps: 50, distilled: false });
export const flux3DistilledPipeline = flux3('Flux3DistilledModularPipeline', { steps: 16, distilled: true });

function flux3(className: string, { steps, distilled }: { steps: number; distilled: boolean }) {
  return definePipeline({
    classNames: [className],
    components: {
      scheduler: scheduler({ className: 'FlowMatchEulerDiscreteScheduler', config: { shift: 6.93 } }),
      guider: guider(3.5),
      textEncoder: textEncoder(),
      vae: autoencoder(),
      transformer: transformer('Flux3Transformer2DModel'),
    },

    options: {
      conditions: { texts: ['prompt'], embeds: ['promptEmbeds'], positiveOnly: distilled },
      ...(distilled ? {} : { guidance: { option: 'guidanceScale' as const } }),
      options: {
        numInferenceSteps: { default: steps },
        height: { multipleOf: twoLatents },
        width: { multipleOf: twoLatents },
        sigmas: {},
        timesteps: {},
        ...(distilled ? {} : { guidanceScale: guidersScale(3.5) }),
        image: {},
        textEncoderOutLayers: { default: [4, 8, 12, 16, 20, 24, 28, 32] },
        maxSequenceLength: { default: 8192 },
      },
    },

    async plan({ parts: { textEncoder, transformer, vae }, settings, reading }) {
      const { batch, signal, timesteps, sigmas, maxSequenceLength } = settings;
      const { inChannels, targetTime } = transformer.traits;
      const multiple = 2 * vae.spatialScale;
      const images = settings.image === undefined ? [] : await loadImages(settings.image);
      const filled = images.length === 1 ? await filledPicture(images[0]!, multiple) : undefined;
      const pictures = filled
        ? [filled.canvas]
        : await Promise.all(images.map((picture) => croppedPicture(picture, multiple)));
      const { height = pictures[0]?.height ?? defaultEdge, width = pictures[0]?.width ?? defaultEdge } = settings;
      const box = settings.height === undefined && settings.width === undefined ? filled?.box : undefined;
      const [rows, columns] = [height / multiple, width / multiple];
      const latents = tokenLatents([batch, inChannels, rows, columns]);
      const ids = pictures.map((picture, i) => pictureIds(picture.height / multiple, picture.width / multiple, -1 - i));
      const given = ids.length > 0 ? { image_cond_ids: join(ids, 0) } : {};
      let times: readonly number[] = [];
      return {
        tokens: rows * columns + (given.image_cond_ids?.dim(0) ?? 0) + Math.min(maxSequenceLength, 8 * window),
        size: { height, width },
        embed: async ({ texts: [texts], embeds }) => {
          const options = { maxLength: maxSequenceLength, hiddenState: settings.textEncoderOutLayers, ...reading };
          return {
            encoder_hidden_states: embeds ? embeds['promptEmbeds'] : await readInWindow(textEncoder, texts!, options),
          };
        },
        latents,
        schedule: timesteps ? { timesteps } : { sigmas: sigmas ?? flowSigmas(settings.numInferenceSteps) },
        start: async (noise, ownScheduler) => {
          times = ownScheduler.timesteps;
          const tokens: Tensor[] = [];
          for (const picture of pictures)
            tokens.push(packTokens(await encodePictures(picture.toTensor(), { vae, batch, signal })));
          return {
            latents: initialLatents(ownScheduler, { latents, noise, given: settings.latents }),
            ...(tokens.length > 0 ? { inputs: { image_cond_hidden_states: join(tokens, 1) } } : {}),
          };
        },
        inputsAt: (sample, timestep, { encoder_hidden_states }) => ({
          hidden_states: sample,
          timestep: perSample(sample, Math.fround(timestep) / 1000),
          ...(targetTime
            ? { target_timestep: perSample(sample, Math.fround(times[times.indexOf(timestep) + 1] ?? 0) / 1000) }
            : {}),
          img_ids: pictureIds(rows, columns, 0),
          txt_ids: textIds((encoder_hidden_states as Tensor).dim(1)),
          ...given,
        }),
        decode: async (final, signal) => {
          const drawn = await decodeImages(vae, latents.unpack(final), signal);
          return { images: box ? drawn.map((picture) => picture.crop(box)) : drawn };
        },
      };
    },
  });
}

/**
 * Hidden states of questions to the model, padded to a multiple of `window`; padding stands at the text's second place.
 * @throws DejaDitError if prompts need windows of several lengths
 */
async function readInWindow(
  encoder: TextEncoder,
  texts: readonly string[],
  { maxLength, warnings, ...options }: EncodeTextOptions,
): Promise<Tensor> {
  const { tokenizer } = encoder;
  const questions = texts.map((content) =>
    tokenizer.applyChatTemplate([{ role: 'user', content }], { addGenerationPrompt: true }),
  );
  const { inputIds, truncated } = tokenizer.tokenize(await Promise.all(questions), { truncation: true, maxLength });
  for (const rest of truncated) if (rest) warnings?.add(cutText(maxLength, rest));
  const lengths = inputIds.map((ids) => Math.min(Math.ceil(ids.length / window) * window, maxLength));
  const [length] = lengths as [number];
  const other = lengths.find((wanted) => wanted !== length);
  if (other !== undefined) {
    const message = `prompts of ${length} and of ${other} tokens cannot share a request; draw them one by one`;
    throw new DejaDitError('INVALID_ARGUMENT', message, { path: 'prompt' });
  }
  const padded = tokenizer.pad(inputIds, { padding: 'max_length', maxLength: length, paddingSide: 'right' });
  const position_ids = idTensor(padded.attentionMask.map((row) => row.map((isToken, i) => (isToken ? i : 1))));
  return (await encoder.run(padded, { ...options, masked: true, inputs: { position_ids } })).hidden;
}

/** (0, row, column, which picture), as tables [tokens, 4]. */
function pictureIds(rows: number, columns: number, picture: number): Tensor {
  const ids = Array.from({ length: rows * columns }, (_, token) => {
    return [0, step * Math.floor(token / columns), step * (token % columns), picture];
  });
  return floatTensor(ids.flat(), [ids.length, 4]);
}

/** (0, 0, 0, place). */
function textIds(tokens: number): Tensor {
  return floatTensor(Array.from({ length: tokens }, (_, place) => [0, 0, 0, place]).flat(), [tokens, 4]);
}
