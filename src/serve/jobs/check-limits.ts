/** What a server lets clients ask for: size, steps and pictures multiply, and any of them can fill a machine for hours. */
import { DejaDitError } from '../../errors/errors.ts';
import type { JobRequest } from './job.ts';

export interface RequestLimits {
  maxPixels: number;
  maxSteps: number;
  maxImages: number;
  maxFrames: number;
}

/** @throws DejaDitError INVALID_ARGUMENT naming the option that asks for too much */
export function checkLimits(request: JobRequest, limits: RequestLimits): void {
  if (request.kind !== 'generate') return;
  const { width, height, numInferenceSteps, numImages, numFrames, prompt, sigmas, timesteps } = request.input.options;
  const { maxPixels, maxSteps, maxImages, maxFrames } = limits;
  const within = (path: string, value: unknown, most: number) => {
    // Whether it is a number at all is the pipeline's to say.
    if (!(Number(value) > most)) return;
    throw new DejaDitError('INVALID_ARGUMENT', `is limited to ${most} on this server`, { path });
  };
  // One side alone may ask for too much whatever the other is.
  if (Number(width ?? 1) * Number(height ?? 1) > maxPixels)
    throw new DejaDitError('INVALID_ARGUMENT', `pictures are limited to ${maxPixels} pixels on this server`, {
      path: 'width',
    });
  const prompts = Array.isArray(prompt) ? prompt.length : 1;
  within('numImages', Number(numImages ?? 1) * prompts, maxImages);
  within('numFrames', numFrames, maxFrames);
  for (const [path, steps] of Object.entries({
    numInferenceSteps,
    sigmas: Array.isArray(sigmas) ? sigmas.length : undefined,
    timesteps: Array.isArray(timesteps) ? timesteps.length : undefined,
  }))
    within(path, steps, maxSteps);
}
