/** What FLUX.2 and FLUX.2-klein have in common: tokens of latents in patches, pictures to look at, and their schedule. */
import type { Image } from '../../images/image.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { join } from '../../tensor/slices.ts';
import { dims, type Tensor } from '../../tensor/tensor.ts';
import { initialLatents, perSample } from '../request/latents.ts';
import { packTokens, tokenLatents } from '../request/packing.ts';
import type { Plan } from '../request/plan.ts';
import { flowSigmas } from '../request/schedule.ts';
import { encodePictures, type ImageSource, loadImages } from '../request/start-images.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { croppedPicture } from './pictures.ts';
import { pictureIds, textIds } from './positions.ts';

interface Flux2Parts {
  transformer: TransformerModel;
  vae: Autoencoder;
  scheduler: Scheduler;
}

type Flux2Settings = GenerateOptions & {
  batch: number;
  numInferenceSteps: number;
  maxSequenceLength: number;
  guidanceScale: number;
};

const defaultEdge = 1024;

/** Everything but the reading of texts. */
export async function flux2Plan(
  { transformer, vae, scheduler }: Flux2Parts,
  settings: Flux2Settings,
): Promise<Omit<Plan, 'embed'>> {
  const { batch, sigmas, numInferenceSteps: steps, guidanceScale, signal } = settings;
  const { inChannels, guidanceEmbedding } = transformer.traits;
  const multiple = 2 * vae.spatialScale;
  const references = await referencePictures(settings.image, multiple);
  const last = references.at(-1);
  const { height = last?.height ?? defaultEdge, width = last?.width ?? defaultEdge } = settings;
  const [rows, columns] = [height / multiple, width / multiple];
  const latents = tokenLatents([batch, inChannels, rows, columns]);
  const ids = references.map((picture, i) => pictureIds(picture.height / multiple, picture.width / multiple, i + 1));
  const img_ids = join([pictureIds(rows, columns), ...ids], 0);
  const levels =
    scheduler.config['use_flow_sigmas'] === true
      ? { numInferenceSteps: steps }
      : { sigmas: sigmas ?? flowSigmas(steps) };
  return {
    tokens: img_ids.dim(0) + settings.maxSequenceLength,
    size: { height, width },
    latents,
    schedule: { ...levels, mu: empiricalShift(rows * columns, steps) },
    start: async (noise, ownScheduler) => ({
      latents: initialLatents(ownScheduler, { latents, noise, given: settings.latents }),
      ...(references.length > 0 ? { references: await tokensOf(references, { vae, signal }) } : {}),
    }),
    inputsAt: (sample, timestep, { encoder_hidden_states }) => ({
      hidden_states: sample,
      timestep: perSample(sample, Math.fround(timestep) / 1000),
      img_ids,
      txt_ids: textIds((encoder_hidden_states as Tensor).dim(1)),
      ...(guidanceEmbedding ? { guidance: perSample(sample, guidanceScale) } : {}),
    }),
  };
}

/** Pictures to look at, at most of a megapixel, cropped to whole tokens. */
async function referencePictures(
  source: ImageSource | readonly ImageSource[] | undefined,
  multiple: number,
): Promise<readonly Image[]> {
  if (source === undefined) return [];
  return Promise.all((await loadImages(source)).map((image) => croppedPicture(image, multiple)));
}

/** Tokens [1, tokens, C] of all pictures, one behind the other. */
async function tokensOf(
  pictures: readonly Image[],
  { vae, signal }: { vae: Autoencoder; signal: AbortSignal | undefined },
): Promise<Tensor> {
  const tokens: Tensor[] = [];
  for (const picture of pictures)
    tokens.push(packTokens(await encodePictures(picture.toTensor(), { vae, batch: 1, signal })));
  dims(tokens[0]!, 3);
  return join(tokens, 1);
}

/** The shift of noise levels, fitted to what the model does best with at 10 and at 200 steps. */
function empiricalShift(tokens: number, steps: number): number {
  const manySteps = 0.00016927 * tokens + 0.45666666;
  if (tokens > 4300) return manySteps;
  const fewSteps = 8.73809524e-5 * tokens + 1.89833333;
  const slope = (fewSteps - manySteps) / 190;
  return -slope * steps + (manySteps + 200 * slope);
}
