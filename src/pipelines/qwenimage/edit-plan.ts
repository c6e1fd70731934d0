/** How Qwen-Image's editing models run: pictures seen by the language model that reads the prompt, and as tokens beside those that are drawn. */
import type { ResizeOptions } from '../../images/codec-options.ts';
import type { Image } from '../../images/image.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { roundHalfEven } from '../../tensor/rounding.ts';
import { join } from '../../tensor/slices.ts';
import { autoencoder, scheduler, transformer, visionEncoder } from '../components.ts';
import { initialLatents } from '../request/latents.ts';
import { packedLatents, packLatents } from '../request/packing.ts';
import { patchPictures } from '../request/picture-processor.ts';
import type { Plan } from '../request/plan.ts';
import { flowSchedule } from '../request/schedule.ts';
import { encodePictures } from '../request/start-images.ts';
import { pictureToken, type VisionEncoder } from '../request/vision-encoder.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { twoLatents } from '../schema/sizes.ts';
import { embedQwen, qwenCalls, qwenOptions } from './calls.ts';

export const editComponents = {
  scheduler: scheduler(),
  textEncoder: visionEncoder(),
  vae: autoencoder(),
  transformer: transformer('QwenImageTransformer2DModel'),
};

export const editOptions = {
  ...qwenOptions,
  height: { multipleOf: twoLatents },
  width: { multipleOf: twoLatents },
  maxArea: { default: 1024 ** 2 },
  image: { required: true },
  maxSequenceLength: { max: 1024, unused: { because: 'as the prompt is read whole', when: () => true } },
};

/** What stands in a text where a picture is. */
export const picturePlace = `<|vision_start|>${pictureToken}<|vision_end|>`;

const instruction =
  "Describe the key features of the input image (color, shape, size, texture, objects, background), then explain how the user's text " +
  "instruction should alter or modify the image. Generate a new image that meets the user's requirements while maintaining consistency " +
  'with the original input where appropriate.';

/** The conversation that the models were trained with; its first tokens are read, but not passed on. */
const conversation = (prompt: string) =>
  `<|im_start|>system\n${instruction}<|im_end|>\n<|im_start|>user\n${prompt}<|im_end|>\n<|im_start|>assistant\n`;
const templateTokens = 64;

/** A picture with this many pixels, about, and its own ratio. */
export function ofArea(image: Image, area: number, options?: ResizeOptions): Promise<Image> {
  const { width, height } = sizeOfArea(image, area);
  return image.resize(width, height, options);
}

export function sizeOfArea(image: Image, area: number): { width: number; height: number } {
  const ratio = image.width / image.height;
  const width = Math.sqrt(area * ratio);
  const whole = (edge: number) => Math.max(1, roundHalfEven(edge / 32)) * 32;
  return { width: whole(width), height: whole(width / ratio) };
}

export interface Edit {
  parts: { scheduler: Scheduler; textEncoder: VisionEncoder; vae: Autoencoder; transformer: TransformerModel };
  settings: GenerateOptions & { numInferenceSteps: number; batch: number; trueCfgScale: number; maxArea: number };
  /** The picture whose ratio is that of what is drawn, unless the request says another. */
  model: Image;
  /** As the language model sees them. */
  seen: readonly Image[];
  /** As the transformer sees them. */
  beside: readonly Image[];
  /** What the language model is told before the prompt, with a place for every picture. */
  before: string;
}

export async function planEdit({ parts, settings, model, seen, beside, before }: Edit): Promise<Plan> {
  const { textEncoder, transformer, vae, scheduler } = parts;
  const { batch, signal } = settings;
  const token = 2 * vae.spatialScale;
  const own = sizeOfArea(model, settings.maxArea);
  const edge = (given: number | undefined, fallback: number) => given ?? Math.floor(fallback / token) * token;
  const [height, width] = [edge(settings.height, own.height), edge(settings.width, own.width)];
  const latents = packedLatents([batch, transformer.traits.inChannels / 4, (2 * height) / token, (2 * width) / token]);
  const shapes = [{ height, width }, ...beside].map((picture): [number, number] => [
    picture.height / token,
    picture.width / token,
  ]);
  const tokens = latents.shape[1]!;
  const pictures = await patchPictures(seen, textEncoder.processor);
  return {
    tokens: shapes.reduce((sum, [rows, columns]) => sum + rows * columns, 0),
    size: { height, width },
    embed: (condition) =>
      embedQwen(condition, (texts) => {
        const whole = texts.map((text) => conversation(before + text));
        return textEncoder.encodeWithPictures(whole, pictures, { templateTokens, signal });
      }),
    latents,
    schedule: flowSchedule(settings, { scheduler, tokens }),
    start: async (noise, ownScheduler) => {
      const references = [];
      for (const picture of beside) {
        const encoded = await encodePictures(picture.toTensor(), { vae, batch, signal });
        const [rows, columns] = [encoded.dim(-2), encoded.dim(-1)];
        references.push(packLatents(encoded.reshape([batch, -1, rows, columns])));
      }
      return {
        references: join(references, 1),
        latents: initialLatents(ownScheduler, { latents, noise, given: settings.latents }),
      };
    },
    ...qwenCalls(shapes, settings.trueCfgScale),
  };
}
