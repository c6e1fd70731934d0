/** What Wan's image-to-video models get of the images, and when they are told that a frame is given. */
import type { ConfigReader } from '../../models/config-reader.ts';
import { cut, join } from '../../tensor/slices.ts';
import { dims, floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { type Experts, readExperts } from './experts.ts';

export interface WanImageConfig extends Experts {
  /** Whether the first image is the first latent frame, at time 0, and not a condition beside the latents. */
  firstFrameGiven: boolean;
}

export function readWan(config: ConfigReader): WanImageConfig {
  return { ...readExperts(config), firstFrameGiven: config.boolean('expand_timesteps', false) };
}

/** A first picture [1, 3, H, W], and a last one where there are two, with grey between them: [1, 3, frames, H, W]. */
export function videoOf(pictures: readonly Tensor[], frames: number): Tensor {
  const [, channels, height, width] = dims(pictures[0]!, 4);
  const shown = pictures.map((picture) => picture.reshape([1, channels, 1, height, width]));
  const rest = frames - shown.length;
  const grey = floatTensor(new Float32Array(channels * rest * height * width), [1, channels, rest, height, width]);
  return join([shown[0]!, ...(rest > 0 ? [grey] : []), ...shown.slice(1)], 2);
}

export interface FrameMask {
  batch: number;
  /** Latent frames. */
  frames: number;
  rows: number;
  columns: number;
  /** Whether the last frame is given too. */
  last: boolean;
  /** Frames that a latent stands for, after the first. */
  perLatent: number;
}

/** 1 for the frames that are given: [B, perLatent, frames, rows, columns], a channel for each frame of a latent. */
export function frameMask({ batch, frames, rows, columns, last, perLatent }: FrameMask): Tensor {
  const given = (channel: number, frame: number) =>
    frame === 0 || (last && frame === frames - 1 && channel === perLatent - 1);
  const plane = Array.from({ length: perLatent * frames }, (_, i) =>
    given(Math.floor(i / frames), i % frames) ? 1 : 0,
  );
  const one = plane.flatMap((value) => Array<number>(rows * columns).fill(value));
  return floatTensor(Array<number[]>(batch).fill(one).flat(), [batch, perLatent, frames, rows, columns]);
}

/** Latents whose first frame is that of the image. */
export function withFirstFrame(latents: Tensor, image: Tensor): Tensor {
  return join([image, cut(latents, { axis: 2, from: 1, to: latents.dim(2) })], 2);
}

/** A time for every token [B, tokens]: 0 for those of the first frame. */
export function timePerToken(
  latents: Tensor,
  { timestep, patch: [, height, width] }: { timestep: number; patch: readonly [number, number, number] },
): Tensor {
  const [batch, , frames, rows, columns] = dims(latents, 5);
  const perFrame = (rows / height) * (columns / width);
  const times = Float32Array.from({ length: batch * frames * perFrame }, (_, i) =>
    Math.floor(i / perFrame) % frames === 0 ? 0 : timestep,
  );
  return floatTensor(times, [batch, frames * perFrame]);
}
