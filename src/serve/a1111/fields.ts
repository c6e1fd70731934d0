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
  script_name: text,
  cache: z.unknown().optional().describe('of this server: true, false or settings'),
});

export const img2imgFields = txt2imgFields.extend({
  init_images: z.array(z.string()).min(1).describe('pictures in base64'),
  denoising_strength: number,
  mask: text,
});

export type Fields = z.infer<typeof txt2imgFields> & Partial<z.infer<typeof img2imgFields>>;

/** What of a request has no effect here, a line each. */
export function idleFields({ restore_faces, tiling, subseed_strength }: Fields): string[] {
  return [
    ...(restore_faces ? ['restore_faces has no effect: there is no model for faces'] : []),
    ...(tiling ? ['tiling has no effect: the models have no edges to join'] : []),
    ...(subseed_strength ? ['subseed_strength has no effect: noise is drawn from seed alone'] : []),
  ];
}
