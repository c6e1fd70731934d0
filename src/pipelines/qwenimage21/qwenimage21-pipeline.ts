/** Qwen-Image 2.1: pictures with transparency from a text and from pictures, both read by a vision-language model. Diffusers' `QwenImage21Pipeline`. */
import type { Image } from '../../images/image.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { ConfigReader } from '../../models/config-reader.ts';
import { cut } from '../../tensor/slices.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, transformer, visionEncoder } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { embedQwen, qwenConditions, qwenGuidance } from '../qwenimage/calls.ts';
import { sizeOfArea } from '../qwenimage/edit-plan.ts';
import { guidedBy } from '../request/guidance.ts';
import { initialLatents, perSample } from '../request/latents.ts';
import { tokenLatents } from '../request/packing.ts';
import { flowSigmas, resolutionShift } from '../request/schedule.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { twoLatents } from '../schema/sizes.ts';
import { conversation, instructionTokens } from './conversation.ts';
import { readReferences } from './references.ts';

/** Tokens of a picture that stand for one slot of the prompt. */
const tokensPerSlot = 4;

const readConfig = (config: ConfigReader) => ({
  sigmas: config.nullable('sample_sigmas', (name) => config.positives(name)),
});

export const qwenImage21Pipeline = definePipeline({
  classNames: ['QwenImage21Pipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: visionEncoder(),
    vae: autoencoder(),
    transformer: transformer('QwenImage21Transformer2DModel'),
  },
  config: readConfig,

  options: {
    conditions: qwenConditions,
    guidance: qwenGuidance,
    options: {
      numInferenceSteps: { default: 40 },
      outputResolution: { default: 1024, multipleOf: twoLatents },
      height: { multipleOf: twoLatents },
      width: { multipleOf: twoLatents },
      sigmas: {},
      image: {},
      trueCfgScale: { default: 1 },
    },
  },

  async plan({ parts, config, settings, reading }) {
    const { textEncoder, transformer, vae, scheduler } = parts;
    const { batch, trueCfgScale, numInferenceSteps: steps, signal } = settings;
    const references = await readReferences(parts, settings);
    const { height, width } = sizeOfPicture(settings, { like: references?.last, vae });
    const [rows, columns] = [height / vae.spatialScale, width / vae.spatialScale];
    const tokens = rows * columns;
    const shapes = [...(references?.shapes ?? []), [1, rows, columns] as const];
    const guided = guidedBy(trueCfgScale);
    const latents = tokenLatents([batch, transformer.traits.inChannels, rows, columns]);
    return {
      tokens: shapes.reduce((sum, [, down, across]) => sum + down * across, 0),
      size: { height, width },
      embed: (condition) =>
        embedQwen(condition, async (texts) => {
          // As the model was trained: before the final norm.
          const templateTokens = await instructionTokens(textEncoder);
          const options = { templateTokens, hiddenState: -1, finalNorm: false };
          // An empty text gives the language model nothing to read.
          const whole = texts.map((text) => conversation((references?.places ?? '') + (text || ' ')));
          if (!references)
            return textEncoder.encodeEach(whole, { maxLength: Number.POSITIVE_INFINITY, ...options, ...reading });
          return textEncoder.encodeWithPictures(whole, references.seen, { ...options, inRows: true, signal });
        }),
      latents,
      schedule: {
        sigmas: settings.sigmas ?? config.sigmas ?? flowSigmas(steps),
        mu: resolutionShift(scheduler, tokens),
      },
      inputsAt: (latents, timestep, { encoder_hidden_states }) => ({
        hidden_states: latents,
        timestep: perSample(latents, Math.fround(timestep) / 1000),
        img_shapes: [shapes],
        img_mask: slots({
          text: (encoder_hidden_states as Tensor).dim(1),
          seen: references?.slots ?? [],
          drawn: tokens / tokensPerSlot,
        }),
      }),
      start: async (noise, ownScheduler) => ({
        latents: initialLatents(ownScheduler, { latents, noise, given: settings.latents }),
        ...(references ? { references: await references.encode(), referencesAt: 'before' as const } : {}),
      }),
      // What the model says of the text is left out.
      combine: (outputs) => guided(outputs.map((output) => ofPicture(output, tokens))),
    };
  },
});

/** As the request says, else a square, or the ratio of a picture. */
function sizeOfPicture(
  { height, width, outputResolution: edge }: GenerateOptions & { outputResolution: number },
  { like, vae }: { like: Image | undefined; vae: Autoencoder },
): { height: number; width: number } {
  const own = like ? sizeOfArea(like, edge ** 2) : { height: edge, width: edge };
  const token = 2 * vae.spatialScale;
  const whole = (pixels: number) => Math.floor(pixels / token) * token;
  return { height: height ?? whole(own.height), width: width ?? whole(own.width) };
}

/** Which slots of a prompt of so many are pictures': those of pictures that are seen, from the first on, and behind the text those that are drawn. */
function slots({ text, seen, drawn }: { text: number; seen: readonly number[]; drawn: number }): Tensor {
  const own = Array.from({ length: text }, (_, i) => seen[i] ?? 0);
  return floatTensor([...own, ...Array<number>(drawn).fill(1)], [1, text + drawn]);
}

const ofPicture = (output: Tensor, tokens: number) =>
  cut(output, { axis: 1, from: output.dim(1) - tokens, to: output.dim(1) });
