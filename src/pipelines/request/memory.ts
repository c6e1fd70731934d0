/**
 * What a request will need besides the weights, and whether it may: asked before anything is built, so that too large a request is an
 * error in a line and not the end of the process.
 */
import { machineMemory } from '#pipelines/request/machine-memory';
import { DejaDitError } from '../../errors/errors.ts';
import { type Autoencoder, activationBytes } from '../../models/autoencoders/autoencoder.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { parseBytes } from '../../weights/byte-size.ts';
import type { GenerateOptions } from '../schema/options.ts';

export interface Workload {
  transformer: TransformerModel;
  autoencoder: Autoencoder;
  /** Of one picture, texts included where the model attends to them as to its own. */
  tokens: number;
  height: number;
  width: number;
  /** Default 1. */
  frames?: number | undefined;
}

/** Float32 vectors of the model's width that a token takes at the peak of a forward pass. Measured with FLUX, rounded up. */
const vectorsPerToken = 44;

/** Decoded floats, once per picture and once joined, and the bytes of the finished picture. */
const hostBytesPerPixel = 3 * (4 + 4 + 1);

/** Latent frames of so many frames, at most. */
export const framesOfLatents = ({ traits: { temporalScale = 1 } }: Autoencoder, frames = 1): number =>
  1 + Math.ceil((frames - 1) / temporalScale);

/**
 * Memory of a request at its peak: of denoising, or of decoding.
 * @param batch pictures of the request
 * @param samplesPerPicture 2 where guidance shares the call
 */
export function estimateMemory(
  { transformer, autoencoder, tokens, height, width, frames = 1 }: Workload,
  { batch, samplesPerPicture }: { batch: number; samplesPerPicture: number },
): number {
  const denoise = batch * samplesPerPicture * tokens * transformer.traits.width * 4 * vectorsPerToken;
  const tile = Math.min(
    activationBytes,
    autoencoder.workingBytes({ height, width, frames: framesOfLatents(autoencoder, frames) }),
  );
  return Math.max(denoise, batch * height * width * frames * hostBytesPerPixel + tile);
}

/** @throws DejaDitError naming the option that asks for too much, with the numbers */
export function checkMemory(
  workload: Workload,
  {
    batch,
    samplesPerPicture,
    maxMemory,
  }: { batch: number; samplesPerPicture: number } & Pick<GenerateOptions, 'maxMemory'>,
): void {
  const limit = maxMemory === undefined ? machineMemory() - workload.transformer.weights.bytes : parseBytes(maxMemory);
  const need = (pictures: number) => estimateMemory(workload, { batch: pictures, samplesPerPicture });
  if (need(batch) <= limit) return;
  const { height, width, frames = 1 } = workload;
  const size = `${width} x ${height}${frames > 1 ? ` x ${frames} frames` : ''}`;
  const isOne = batch === 1 || need(1) > limit;
  const [path, what] = isOne
    ? ['width', `a picture of ${size} needs`]
    : ['numImages', `${batch} pictures of ${size} need`];
  const numbers = `about ${gigabytes(need(isOne ? 1 : batch))} besides the weights, more than ${gigabytes(limit)}`;
  throw new DejaDitError('INVALID_ARGUMENT', `${what} ${numbers}; ask for less, or set maxMemory to allow it`, {
    path,
  });
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
