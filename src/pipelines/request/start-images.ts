/** Pictures that a request starts from: as callers have them (pictures, files, bytes of files), and as latents. */
import { DejaDitError } from '../../errors/errors.ts';
import type { ImageFileSource } from '../../images/codec-options.ts';
import { oneLine } from '../../images/files.ts';
import { Image } from '../../images/image.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { join } from '../../tensor/slices.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { transformerLatents } from './latents.ts';
import type { NoiseSource } from './noise.ts';
import type { LatentLayout, Plan, Start } from './plan.ts';
import { lateTimesteps } from './schedule.ts';

/** A picture, the path or `file:` URL of one, or a file's bytes. */
export type ImageSource = Image | ImageFileSource;

/**
 * One image for all pictures of a request, or several that take turns.
 * @throws DejaDitError if some pictures would be left without
 */
export function takingTurns(
  value: ImageSource | readonly ImageSource[] | undefined,
  batch: number,
  option = 'image',
): readonly ImageSource[] | undefined {
  if (value === undefined) return undefined;
  const list = [value].flat() as readonly ImageSource[];
  if (batch % list.length === 0) return list;
  throw new DejaDitError('INVALID_ARGUMENT', `${list.length} of them cannot take turns in ${batch} pictures`, {
    path: option,
  });
}

/** @throws DejaDitError naming the image that cannot be read */
export function loadImages(sources: ImageSource | readonly ImageSource[], option = 'image'): Promise<Image[]> {
  const list = [sources].flat() as readonly ImageSource[];
  return Promise.all(
    list.map(async (source, i) => {
      if (source instanceof Image) return source;
      try {
        return await Image.load(source);
      } catch (cause) {
        if (!(cause instanceof DejaDitError)) throw cause;
        const path = list.length === 1 ? option : `${option}[${i}]`;
        throw new DejaDitError(cause.code, oneLine(cause), { path, cause });
      }
    }),
  );
}

export interface EncodedPictures {
  vae: Autoencoder;
  /** Pictures of the request, a multiple of the images. */
  batch: number;
  /** Samples the latents. Default: their mean. */
  noise?: NoiseSource;
  signal: AbortSignal | undefined;
}

/** Latents of pictures [n, 3, H, W], which take turns, at the transformer's scale: [B, C, h, w]. */
export async function encodePictures(pixels: Tensor, { vae, batch, noise, signal }: EncodedPictures): Promise<Tensor> {
  const ofVideos = vae.traits.temporalScale !== undefined;
  const [images, channels, height, width] = pixels.shape as [number, number, number, number];
  const frames = ofVideos ? pixels.reshape([images, channels, 1, height, width]) : pixels;
  const latents = await vae.encode(frames, {
    generator: noise,
    // As in Diffusers, pictures that share a stream of noise share the sample too.
    samples: noise?.perImage ? batch : images,
    signal,
  });
  const scaled = transformerLatents(latents, vae);
  return join(Array<Tensor>(batch / scaled.dim(0)).fill(scaled), 0);
}

/** Pictures at the size of a request: [n, 3, H, W]. */
export async function loadPixels(
  source: ImageSource | readonly ImageSource[] | undefined,
  { height, width, batch }: { height: number; width: number; batch: number },
  option = 'image',
): Promise<Tensor> {
  const images = await loadImages(takingTurns(source, batch, option) ?? [], option);
  const sized = await Promise.all(images.map((image) => image.resize(width, height)));
  return join(
    sized.map((image) => image.toTensor()),
    0,
  );
}

export interface StartFromImages {
  /** [n, 3, H, W], a picture for all of the request or several that take turns. */
  pixels: Tensor;
  latents: LatentLayout;
  settings: { numInferenceSteps: number; strength: number; batch: number; signal?: AbortSignal };
  vae: Autoencoder;
  noise: NoiseSource;
  /** See `lateTimesteps`. */
  wholeSteps?: boolean;
  /** Whether the latents of images are their mean. Default: they are sampled. */
  mean?: boolean;
}

/** What image-to-image and inpainting start from. */
export interface ImageStart extends Start {
  /** Latents of the images, as they are drawn. */
  clean: Tensor;
  /** The request's noise, as it is drawn. */
  drawn: Tensor;
  /** The same with the request's noise, as much as there is at a time. */
  noisedTo(timestep: number): Tensor;
}

/** The starting images, noised to the level that `strength` asks for: images are sampled before noise is drawn, as in Diffusers. */
export async function startFromImages(
  scheduler: Scheduler,
  { pixels, latents: layout, settings, vae, noise, wholeSteps, mean = false }: StartFromImages,
): Promise<ImageStart> {
  const { batch, signal } = settings;
  const timesteps = lateTimesteps(scheduler, { ...settings, wholeSteps });
  const sampling = mean ? {} : { noise };
  const clean = (await encodePictures(pixels, { vae, batch, signal, ...sampling })).reshape(layout.drawn);
  const drawn = noise.randn(layout.drawn);
  const noisedTo = (timestep: number) => scheduler.addNoise({ sample: clean, noise: drawn, timestep });
  return { timesteps, latents: layout.pack(noisedTo(timesteps[0]!)), clean, drawn, noisedTo };
}

type ImageRequest = StartFromImages['settings'] & { height: number; width: number } & Pick<GenerateOptions, 'image'>;

/** The `start` of a plan whose request may bring an image to start from. */
export async function maybeFromImages(
  options: Pick<StartFromImages, 'latents' | 'vae' | 'wholeSteps' | 'mean'> & { settings: ImageRequest },
): Promise<Pick<Plan, 'start'>> {
  const { settings } = options;
  if (settings.image === undefined) return {};
  const pixels = await loadPixels(settings.image, settings);
  return { start: (noise, scheduler) => startFromImages(scheduler, { ...options, pixels, noise }) };
}
