/** Inpainting with models that know nothing of masks: after every step what the mask leaves is put back, noised as far as the rest. */
import type { Scheduler } from '../../schedulers/scheduler.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { blend, latentMasks, loadMasks } from './masks.ts';
import type { Plan } from './plan.ts';
import { type ImageStart, loadPixels, type StartFromImages, startFromImages } from './start-images.ts';
import { affine, repeatToRows } from './tensors.ts';

/**
 * @param masks [n, 1, H, W]
 * @param pureAtFull whether nothing of the picture is in the start at full strength. Default: what the first level leaves
 */
export async function startInpainting(
  scheduler: Scheduler,
  { masks, pureAtFull = false, ...options }: StartFromImages & { masks: Tensor; pureAtFull?: boolean },
): Promise<ImageStart> {
  const { latents, vae, settings } = options;
  const start = await startFromImages(scheduler, options);
  const ofLatents = latentMasks(masks, { scale: vae.spatialScale, channels: vae.latentChannels });
  const mask = latents.pack(repeatToRows(ofLatents, settings.batch).reshape(latents.drawn));
  const kept = (timestep: number | undefined) =>
    latents.pack(timestep === undefined ? start.clean : start.noisedTo(timestep));
  const isPure = pureAtFull && settings.strength === 1;
  return {
    ...start,
    ...(isPure ? { latents: latents.pack(affine(start.drawn, { scale: scheduler.initNoiseSigma })) } : {}),
    afterStep: (drawn, next) => blend(drawn, kept(next), mask),
  };
}

export type InpaintRequest = StartFromImages['settings'] & { height: number; width: number } & Pick<
    GenerateOptions,
    'image' | 'maskImage'
  >;

/** The picture [n, 3, H, W] and the masks [n, 1, H, W] of a request that has both. */
export async function loadInpainted(settings: InpaintRequest): Promise<{ pixels: Tensor; masks: Tensor }> {
  return { pixels: await loadPixels(settings.image, settings), masks: await loadMasks(settings.maskImage!, settings) };
}

/** The `start` of a plan that inpaints. */
export async function inpainted(
  options: Pick<StartFromImages, 'latents' | 'vae'> & { settings: InpaintRequest; pureAtFull?: boolean },
): Promise<Pick<Plan, 'start'>> {
  const pictures = await loadInpainted(options.settings);
  return { start: (noise, scheduler) => startInpainting(scheduler, { ...options, ...pictures, noise }) };
}
