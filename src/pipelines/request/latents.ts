/** Latents between the autoencoder's scale and the transformer's, and where a request's latents come from. */
import type { WarningLog } from '../../errors/warnings.ts';
import { type Image, imagesFromTensor } from '../../images/image.ts';
import { type Video, videosFromTensor } from '../../images/video.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { cut } from '../../tensor/slices.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import type { NoiseSource } from './noise.ts';
import { fromPatches, toPatches } from './packing.ts';
import type { LatentLayout } from './plan.ts';
import { affine, requireShape } from './tensors.ts';

export interface InitialLatents {
  latents: LatentLayout;
  /** The caller's noise, as the transformer takes it. */
  given: Tensor | undefined;
  noise: NoiseSource;
}

/** Noise, the caller's or drawn, at the scale that the schedule starts from. */
export function initialLatents(scheduler: Scheduler, { latents: layout, given, noise }: InitialLatents): Tensor {
  const latents = given ? requireShape(given, layout.shape, 'latents') : layout.pack(noise.randn(layout.drawn));
  return scheduler.initNoiseSigma === 1 ? latents : affine(latents, { scale: scheduler.initNoiseSigma });
}

/** One value per sample of a batch [B]. */
export function perSample(latents: Tensor, value: number): Tensor {
  return floatTensor(new Float32Array(latents.dim(0)).fill(value));
}

/** The first `channels` channels of a model's output: models that predict their variance too have twice as many. */
export function firstChannels(output: Tensor, channels: number): Tensor {
  return output.shape[1] === 2 * channels ? cut(output, { axis: 1, from: 0, to: channels }) : output;
}

/** The transformer's latents [B, C, …] at the autoencoder's scale. */
export function rawLatents(latents: Tensor, { traits }: Pick<Autoencoder, 'traits'>): Tensor {
  const { latentsMean, latentsStd, scalingFactor, shiftFactor } = traits;
  if (!latentsMean || !latentsStd) return affine(latents, { scale: 1 / scalingFactor, shift: shiftFactor });
  // Diffusers divides by the reciprocal.
  const raw = perChannel(
    latents,
    (value, channel) => Math.fround(value / Math.fround(1 / latentsStd[channel]!)) + latentsMean[channel]!,
  );
  return traits.latentPatch === undefined ? raw : fromPatches(raw);
}

/** The way back: the autoencoder's latents at the transformer's scale. */
export function transformerLatents(latents: Tensor, { traits }: Autoencoder): Tensor {
  const { latentsMean, latentsStd, scalingFactor, shiftFactor } = traits;
  if (!latentsMean || !latentsStd) return affine(affine(latents, { shift: -shiftFactor }), { scale: scalingFactor });
  return perChannel(traits.latentPatch === undefined ? latents : toPatches(latents), (value, channel) =>
    Math.fround(Math.fround(value - Math.fround(latentsMean[channel]!)) * Math.fround(1 / latentsStd[channel]!)),
  );
}

function perChannel(latents: Tensor, change: (value: number, channel: number) => number): Tensor {
  const channels = latents.dim(1);
  const plane = latents.size / (latents.dim(0) * channels);
  return floatTensor(
    latents.f32.map((value, i) => change(value, Math.floor(i / plane) % channels)),
    latents.shape,
  );
}

/** Latents [B, C, h, w], or one frame [B, C, 1, h, w], as pictures. */
export async function decodeImages(autoencoder: Autoencoder, latents: Tensor, signal?: AbortSignal): Promise<Image[]> {
  const [batch, channels, height, width] = [latents.dim(0), latents.dim(1), latents.dim(-2), latents.dim(-1)];
  const ofVideos = autoencoder.traits.temporalScale !== undefined;
  const shaped = latents.reshape([batch, channels, ...(ofVideos ? [1] : []), height, width]);
  const pictures = await autoencoder.decode(rawLatents(shaped, autoencoder), { signal });
  return imagesFromTensor(pictures.reshape([...pictures.shape.slice(0, 2), ...pictures.shape.slice(-2)]));
}

/** Latents [B, C, frames, h, w] as videos. */
export async function decodeVideos(
  autoencoder: Autoencoder,
  latents: Tensor,
  { fps, signal }: { fps: number; signal?: AbortSignal | undefined },
): Promise<Video[]> {
  return videosFromTensor(await autoencoder.decode(rawLatents(latents, autoencoder), { signal }), { fps });
}

interface Frames {
  vae: Autoencoder;
  warnings: WarningLog;
  /** Whether frames that make no group are left out, and not rounded up where one is missing, as Wan does. Default: not. */
  roundDown?: boolean;
}

/** Latent frames of a video: the first frame has one of its own; after it several share one. */
export function latentFrames(numFrames: number, { vae, warnings, roundDown = false }: Frames): number {
  const perLatent = vae.traits.temporalScale ?? 1;
  const fits = (numFrames - 1) % perLatent === 0;
  const groups = Math.floor((fits || roundDown ? numFrames - 1 : numFrames) / perLatent);
  const possible = 1 + groups * perLatent;
  if (!fits)
    warnings.add(`numFrames ${numFrames} becomes ${possible}: frames after the first come in groups of ${perLatent}`);
  return 1 + groups;
}
