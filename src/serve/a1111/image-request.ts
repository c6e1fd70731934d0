/** From a request of A1111's clients to a job. */
import { randomInt } from 'node:crypto';
import type { Core } from '../core.ts';
import { Problem } from '../http/problem.ts';
import type { JobRequest } from '../jobs/job.ts';
import { lorasInPrompt } from '../requests/lora-strengths.ts';
import { invertedMask, requireInpainting } from '../requests/masks.ts';
import { plainOptions } from '../requests/plain-options.ts';
import { type Fields, idleFields } from './fields.ts';
import { previewsOf, type WebUiOptions } from './options.ts';

/** Tells these jobs from those of other protocols: `/interrupt` and `/progress` name none. */
export const client = 'a1111';

export interface Asked {
  request: JobRequest<'generate'>;
  seeds: number[];
  model: string;
  warnings: string[];
}

/** @throws Problem, DejaDitError naming the field that is wrong */
export async function imageRequest(core: Core, fields: Fields, state: WebUiOptions): Promise<Asked> {
  const refused = (param: string, why: string) => new Problem(422, why, { param });
  if (fields.enable_hr) throw refused('enable_hr', 'there is no second pass here; ask for the full size at once');
  if (fields.script_name) throw refused('script_name', `there is no script '${fields.script_name}'`);
  const wanted = fields.override_settings?.['sd_model_checkpoint'] ?? state.sd_model_checkpoint;
  const model = core.models.require(wanted === undefined ? undefined : String(wanted));
  const guidance = (await core.models.learn(model))?.guidance ?? 'guidanceScale';
  const count = Math.max(1, (fields.batch_size ?? 1) * (fields.n_iter ?? 1));
  const { maxImages } = core.settings;
  if (!Number.isInteger(count) || count > maxImages)
    throw refused('batch_size', `batch_size times n_iter is limited to ${maxImages} on this server`);
  const first = fields.seed === undefined || fields.seed === null || fields.seed < 0 ? randomInt(2 ** 31) : fields.seed;
  const seeds = Array.from({ length: count }, (_, i) => first + i);
  const sampler = fields.sampler_name ?? fields.sampler_index;
  const { prompt, strengths } = lorasInPrompt(fields.prompt ?? '', core.loras);
  const images = fields.init_images?.map((picture) => core.pictures.fromText(picture, 'init_images'));
  const given = {
    prompt,
    negativePrompt: fields.negative_prompt || undefined,
    seed: count === 1 ? seeds[0] : seeds,
    numImages: count,
    numInferenceSteps: fields.steps,
    [guidance]: fields.cfg_scale,
    width: fields.width,
    height: fields.height,
    scheduler: sampler && (fields.scheduler ? `${sampler} ${fields.scheduler}` : sampler),
    clipSkip: clipSkipOf(fields),
    cache: fields.cache,
    ...(Object.keys(strengths).length > 0 ? { loras: strengths } : {}),
    ...(fields.mask ? { maskImage: await maskOf(core, model, fields) } : {}),
    ...(images ? { image: await Promise.all(images), strength: fields.denoising_strength ?? 0.75 } : {}),
  };
  const previews = previewsOf(state);
  return {
    request: {
      kind: 'generate',
      model,
      client,
      input: { options: await plainOptions(given, core), ...(previews ? { previews } : {}) },
    },
    seeds,
    model,
    warnings: [
      ...idleFields(fields),
      ...(fields.save_images && !core.outputs
        ? ['save_images has no effect: the server was started without --output-dir']
        : []),
    ],
  };
}

/** What is white in it is drawn anew, or what is black, as the request says. */
async function maskOf(core: Core, model: string, { mask, inpainting_mask_invert }: Fields): Promise<Uint8Array> {
  requireInpainting(core, model, 'mask');
  const bytes = await core.pictures.fromText(mask!, 'mask');
  return inpainting_mask_invert ? invertedMask(bytes, { param: 'mask', maxPixels: core.settings.maxPixels }) : bytes;
}

/** There 1 is the last layer, here 0, or nothing, is. */
function clipSkipOf({ override_settings: settings }: Fields): number | undefined {
  const layers = settings?.['CLIP_stop_at_last_layers'];
  return typeof layers === 'number' && layers > 1 ? layers - 1 : undefined;
}
