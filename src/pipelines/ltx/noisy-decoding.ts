/** Decoding by an autoencoder that removes the last noise (LTX-Video 0.9.1 and later): it gets some, and is told how much there is. */
import { DejaDitError } from '../../errors/errors.ts';
import { videosFromTensor } from '../../images/video.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import { cut, join } from '../../tensor/slices.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { rawLatents } from '../request/latents.ts';
import type { LatentLayout, Plan } from '../request/plan.ts';

export interface NoisyDecoding {
  batch: number;
  frameRate: number;
  decodeTimestep: number | readonly number[];
  decodeNoiseScale?: number | readonly number[];
}

interface Decoder {
  vae: Autoencoder;
  latents: LatentLayout;
  settings: NoisyDecoding;
}

/** The `decode` of a plan. @throws DejaDitError naming the list that has not a number for each video */
export function noisyDecoding({ vae, latents: layout, settings }: Decoder): Required<Pick<Plan, 'decode'>> {
  const { batch, frameRate, decodeTimestep, decodeNoiseScale = decodeTimestep } = settings;
  const timesteps = perVideo(decodeTimestep, batch, 'decodeTimestep');
  const scales = perVideo(decodeNoiseScale, batch, 'decodeNoiseScale');
  return {
    decode: async (latents, signal, noise) => {
      const raw = rawLatents(layout.unpack(latents), vae);
      const noisy = noise ? mixed(raw, noise.randn(raw.shape), scales) : raw;
      // Videos that share a time are decoded side by side where there are ranks.
      const isAlike = new Set(timesteps).size === 1;
      const parts = isAlike ? [noisy] : timesteps.map((_, row) => cut(noisy, { axis: 0, from: row, to: row + 1 }));
      const videos: Tensor[] = [];
      for (const [i, part] of parts.entries()) videos.push(await vae.decode(part, { timestep: timesteps[i], signal }));
      return { videos: videosFromTensor(join(videos, 0), { fps: frameRate }) };
    },
  };
}

function perVideo(value: number | readonly number[], batch: number, path: string): readonly number[] {
  if (typeof value === 'number') return Array<number>(batch).fill(value);
  if (value.length === batch) return value;
  throw new DejaDitError('INVALID_ARGUMENT', `${value.length} numbers for ${batch} videos`, { path });
}

/** (1 − scale)·latents + scale·noise, with a scale for each row. */
function mixed(latents: Tensor, noise: Tensor, scales: readonly number[]): Tensor {
  const row = latents.size / scales.length;
  const drawn = noise.f32;
  return floatTensor(
    latents.f32.map((value, i) => {
      const scale = Math.fround(scales[Math.floor(i / row)]!);
      return Math.fround(Math.fround(1 - scale) * value) + Math.fround(scale * drawn[i]!);
    }),
    latents.shape,
  );
}
