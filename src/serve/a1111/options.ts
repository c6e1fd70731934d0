/** The settings that A1111's clients read and set: those of its web UI that mean something here. One set for all clients, as there. */
import { z } from '@hono/zod-openapi';
import type { Core } from '../core.ts';
import type { PreviewOptions } from '../jobs/job.ts';

export interface WebUiOptions {
  /** Of requests that name no model. Default: the server's first. */
  sd_model_checkpoint: string | undefined;
  live_previews_enable: boolean;
  /** Steps between previews; -1: none. */
  show_progress_every_n_steps: number;
}

export const initialOptions = (): WebUiOptions => ({
  sd_model_checkpoint: undefined,
  live_previews_enable: true,
  show_progress_every_n_steps: 10,
});

export const optionFields = z.looseObject({
  sd_model_checkpoint: z.string().nullish(),
  live_previews_enable: z.boolean().nullish(),
  show_progress_every_n_steps: z.number().nullish(),
});

/** @throws DejaDitError NOT_FOUND for a model that is none of the server's */
export function setOptions(state: WebUiOptions, given: z.infer<typeof optionFields>, core: Core): void {
  const { sd_model_checkpoint: model, live_previews_enable, show_progress_every_n_steps } = given;
  if (model) state.sd_model_checkpoint = core.models.require(model);
  state.live_previews_enable = live_previews_enable ?? state.live_previews_enable;
  state.show_progress_every_n_steps = show_progress_every_n_steps ?? state.show_progress_every_n_steps;
}

export function previewsOf(state: WebUiOptions): PreviewOptions | undefined {
  const every = Math.floor(state.show_progress_every_n_steps);
  return state.live_previews_enable && every >= 1 ? { every, format: 'png', maxSize: 512 } : undefined;
}
