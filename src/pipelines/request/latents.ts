/** Latents between the autoencoder's scale and the transformer's, and where a request's latents come from. */
import { type Image, imagesFromTensor } from '../../images/image.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { Scheduler, SetTimestepsOptions } from '../../schedulers/scheduler.ts';
import { calculateShift } from '../../schedulers/spacing/flow-shift.ts';
import { cut } from '../../tensor/slices.ts';
import { floatTensor, type Shape, type Tensor } from '../../tensor/tensor.ts';
import { affine, requireShape } from './tensors.ts';

/** Pure noise, the caller's or drawn, at the start of a schedule. */
export function startFromNoise(
  configured: Scheduler,
  { schedule, ...latents }: { schedule: SetTimestepsOptions } & LatentsOptions,
): { scheduler: Scheduler; latents: Tensor } {
  const scheduler = configured.clone();
  scheduler.setTimesteps(schedule);
  return { scheduler, latents: initialLatents(scheduler, latents) };
}

export interface LatentsOptions {
  /** The caller's noise. */
  given: Tensor | undefined;
  /** As the transformer takes it. */
  shape: Shape;
  draw(shape: Shape): Tensor;
}

/** Noise at the scale that the schedule starts from. */
export function initialLatents(scheduler: Scheduler, { given, draw, shape }: LatentsOptions): Tensor {
  const latents = given ? requireShape(given, shape, 'latents') : draw(shape);
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
export function rawLatents(latents: Tensor, { traits }: Autoencoder): Tensor {
  const { latentsMean, latentsStd, scalingFactor, shiftFactor } = traits;
  if (!latentsMean || !latentsStd) return affine(latents, { scale: 1 / scalingFactor, shift: shiftFactor });
  const channels = latents.dim(1);
  const plane = latents.size / (latents.dim(0) * channels);
  const source = latents.f32;
  return floatTensor(
    source.map((value, i) => {
      const channel = Math.floor(i / plane) % channels;
      // Diffusers divides by the reciprocal.
      return Math.fround(value / Math.fround(1 / latentsStd[channel]!)) + latentsMean[channel]!;
    }),
    latents.shape,
  );
}

/** Latents [B, C, h, w], or one frame [B, C, 1, h, w], as pictures. */
export async function decodeImages(autoencoder: Autoencoder, latents: Tensor, signal?: AbortSignal): Promise<Image[]> {
  const pictures = await autoencoder.decode(rawLatents(latents, autoencoder), { signal });
  return imagesFromTensor(pictures.reshape([...pictures.shape.slice(0, 2), ...pictures.shape.slice(-2)]));
}

/** The shift of noise levels that a scheduler's config asks for at this many image tokens. @param maxShift where it sets none */
export function resolutionShift({ config }: Scheduler, imageSeqLen: number, maxShift = 1.15): number {
  return calculateShift({
    imageSeqLen,
    baseSeqLen: Number(config['base_image_seq_len'] ?? 256),
    maxSeqLen: Number(config['max_image_seq_len'] ?? 4096),
    baseShift: Number(config['base_shift'] ?? 0.5),
    maxShift: Number(config['max_shift'] ?? maxShift),
  });
}
