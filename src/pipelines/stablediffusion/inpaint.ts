/**
 * Inpainting around `UNet2DConditionModel`: checkpoints made for it see the mask and the rest of the picture as channels beside the latents,
 * others get the rest put back after every step. At full strength nothing of the picture is in the start.
 */
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { join } from '../../tensor/slices.ts';
import { type InpaintRequest, loadInpainted, startInpainting } from '../request/inpaint.ts';
import { initialLatents } from '../request/latents.ts';
import { latentMasks, maskedPictures } from '../request/masks.ts';
import type { LatentLayout, Plan, Start } from '../request/plan.ts';
import { lateTimesteps } from '../request/schedule.ts';
import { encodePictures, maybeFromImages, type StartFromImages, startFromImages } from '../request/start-images.ts';
import { repeatToRows } from '../request/tensors.ts';
import type { PictureOptions } from '../schema/sizes.ts';

export interface UNetStart {
  transformer: TransformerModel;
  vae: Autoencoder;
  latents: LatentLayout;
  settings: InpaintRequest;
}

/** How a pipeline starts from pictures. */
export interface StartingImage {
  pictures: PictureOptions;
  from(options: UNetStart): Promise<Pick<Plan, 'start'>>;
}

/** The `start` of a plan whose request may bring an image to start from. */
export const maybeStartedByUNet: StartingImage['from'] = ({ vae, latents, settings }) =>
  maybeFromImages({ vae, latents, settings, wholeSteps: true });

/** The `start` of a plan that inpaints. */
export async function inpaintedByUNet({
  transformer,
  vae,
  latents,
  settings,
}: UNetStart): Promise<Pick<Plan, 'start'>> {
  const { pixels, masks } = await loadInpainted(settings);
  const { batch, signal, strength } = settings;
  const seesMask = transformer.traits.inChannels !== vae.latentChannels;
  const start: NonNullable<Plan['start']> = async (noise, scheduler) => {
    const options = { pixels, latents, settings, vae, noise, wholeSteps: true };
    const rest = () => encodePictures(maskedPictures(pixels, masks), { vae, batch, noise, signal });
    if (!seesMask) {
      const begin = await startInpainting(scheduler, { ...options, masks, pureAtFull: true });
      // Without need, as in Diffusers: schedulers that add noise draw theirs behind it.
      await rest();
      return begin;
    }
    const begin = strength === 1 ? pureNoise(scheduler, options) : await startFromImages(scheduler, options);
    const mask = repeatToRows(latentMasks(masks, { scale: vae.spatialScale, channels: 1 }), batch);
    return { ...begin, channels: join([mask, await rest()], 1) };
  };
  return { start };
}

function pureNoise(
  scheduler: Scheduler,
  { latents, settings, noise }: Pick<StartFromImages, 'latents' | 'settings' | 'noise'>,
): Start {
  const timesteps = lateTimesteps(scheduler, { ...settings, wholeSteps: true });
  return { timesteps, latents: initialLatents(scheduler, { latents, noise, given: undefined }) };
}
