/** What A1111's clients send, as far as it means something here. Everything else they send is ignored, as their own server does. */
import { z } from '@hono/zod-openapi';

const number = z.number().nullish();
const text = z.string().nullish();

export const txt2imgFields = z.looseObject({
  prompt: text,
  negative_prompt: text,
  seed: number.describe('-1: any'),
  sampler_name: text,
  sampler_index: text,
  scheduler: text,
  steps: number,
  cfg_scale: number,
  width: number,
  height: number,
  batch_size: number,
  n_iter: number,
  send_images: z.boolean().nullish(),
  override_settings: z.record(z.string(), z.unknown()).nullish(),
  enable_hr: z.boolean().nullish(),
  restore_faces: z.boolean().nullish(),
  tiling: z.boolean().nullish(),
  subseed_strength: number,
  styles: z.array(z.string()).nullish(),
  save_images: z.boolean().nullish().describe('into --output-dir'),
  refiner_checkpoint: text,
  alwayson_scripts: z.record(z.string(), z.unknown()).nullish(),
  script_name: text,
  cache: z.unknown().optional().describe('of this server: true, false or settings'),
});

export const img2imgFields = txt2imgFields.extend({
  init_images: z.array(z.string()).min(1).describe('pictures in base64'),
  denoising_strength: number,
  mask: text.describe('what is white in it is drawn anew, by models that inpaint'),
  inpainting_mask_invert: number.describe('1: what is black is'),
  mask_blur: number,
  inpainting_fill: number,
  inpaint_full_res: z.union([z.boolean(), z.number()]).nullish(),
  resize_mode: number,
});

export type Fields = z.infer<typeof txt2imgFields> & Partial<z.infer<typeof img2imgFields>>;

/** What of a request has no effect here, a line each. */
export function idleFields(fields: Fields): string[] {
  const { restore_faces, tiling, subseed_strength, styles, refiner_checkpoint, alwayson_scripts, resize_mode } = fields;
  const { mask, mask_blur, inpainting_fill, inpaint_full_res } = fields;
  const idle: readonly (readonly [unknown, string])[] = [
    [restore_faces, 'restore_faces has no effect: there is no model for faces'],
    [tiling, 'tiling has no effect: the models have no edges to join'],
    [subseed_strength, 'subseed_strength has no effect: noise is drawn from seed alone'],
    [styles?.length, 'styles has no effect: there are none; write them into the prompt'],
    [refiner_checkpoint, 'refiner_checkpoint has no effect: one model draws a picture'],
    [resize_mode, 'resize_mode has no effect: pictures to start from are stretched to the size that is drawn'],
    [mask && mask_blur, 'mask_blur has no effect: masks are sharp'],
    [mask && (inpainting_fill ?? 1) !== 1, 'inpainting_fill has no effect: what is drawn anew starts from the picture'],
    [mask && inpaint_full_res, 'inpaint_full_res has no effect: the picture is drawn at one size'],
    ...Object.keys(alwayson_scripts ?? {}).map(
      (name) => [true, `${name} has no effect: there are no scripts`] as const,
    ),
  ];
  return idle.flatMap(([given, why]) => (given ? [why] : []));
}
