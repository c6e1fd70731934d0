/** From a job to the answer that A1111's clients read: pictures in base64, and `info`, which is JSON in a string. */
import { parametersText } from '../../images/metadata.ts';
import { samplers } from '../../pipelines/request/samplers.ts';
import type { Core } from '../core.ts';
import { problemOfJob } from '../http/problem.ts';
import type { Job } from '../jobs/job.ts';
import type { Fields } from './fields.ts';
import type { Asked } from './image-request.ts';

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');

/** @throws Problem if the job failed; what was interrupted has the pictures that there are */
export function imagesAnswer(job: Job<'generate'>, fields: Fields, { seeds, model, warnings }: Asked, core: Core) {
  if (job.error) throw problemOfJob(job.error, core.jobs.retryAfter);
  const files = job.result?.files ?? (job.preview ? [job.preview] : []);
  const { width = 0, height = 0 } = files[0] ?? {};
  const { report } = job.result ?? {};
  const steps = report?.steps ?? job.progress.steps;
  const sampler_name = fields.sampler_name ?? fields.sampler_index ?? samplers['euler']!.label;
  const common = { prompt: fields.prompt ?? '', negativePrompt: fields.negative_prompt ?? '' };
  const infotexts = seeds.map((seed) =>
    parametersText({
      ...common,
      numInferenceSteps: steps,
      scheduler: sampler_name,
      ...(typeof fields.cfg_scale === 'number' ? { guidanceScale: fields.cfg_scale } : {}),
      seed,
      model,
      width,
      height,
    }),
  );
  const all = <T>(value: T): T[] => seeds.map(() => value);
  const info = {
    prompt: common.prompt,
    all_prompts: all(common.prompt),
    negative_prompt: common.negativePrompt,
    all_negative_prompts: all(common.negativePrompt),
    seed: seeds[0],
    all_seeds: seeds,
    subseed: seeds[0],
    all_subseeds: seeds,
    subseed_strength: 0,
    width,
    height,
    sampler_name,
    cfg_scale: fields.cfg_scale ?? null,
    steps,
    batch_size: fields.batch_size ?? 1,
    denoising_strength: fields.denoising_strength ?? null,
    restore_faces: false,
    face_restoration_model: null,
    sd_model_name: model,
    sd_model_hash: null,
    sd_vae_name: null,
    sd_vae_hash: null,
    extra_generation_params: {},
    index_of_first_image: 0,
    infotexts,
    styles: [],
    clip_skip: 1,
    job_timestamp: new Date(job.createdAt).toISOString(),
    reused_steps: report?.reusedSteps ?? 0,
    warnings: [...warnings, ...(report?.warnings ?? [])],
  };
  const { init_images: _, mask: __, ...parameters } = fields;
  return {
    images: fields.send_images === false ? [] : files.map(({ bytes }) => base64(bytes)),
    parameters,
    info: JSON.stringify(info),
  };
}

/** What `/progress` says: of the oldest job of these clients that runs. */
export function progressAnswer(jobs: readonly Job[], { withImage }: { withImage: boolean }) {
  const running = jobs.filter(({ state }) => state === 'running');
  const [job] = running;
  const { step, steps } = job?.progress ?? { step: 0, steps: 0 };
  const share = steps === 0 ? 0 : step / steps;
  const elapsed = job?.startedAt === undefined ? 0 : (Date.now() - job.startedAt) / 1000;
  return {
    progress: share,
    eta_relative: share === 0 ? 0 : elapsed / share - elapsed,
    state: {
      skipped: false,
      interrupted: job?.cancelling ?? false,
      stopping_generation: job?.cancelling ?? false,
      job: job?.id ?? '',
      job_count: jobs.length,
      job_timestamp: job?.startedAt === undefined ? '0' : new Date(job.startedAt).toISOString(),
      job_no: 0,
      sampling_step: step,
      sampling_steps: steps,
    },
    current_image: withImage && job?.preview ? base64(job.preview.bytes) : null,
    textinfo: job ? null : jobs.length > 0 ? `waiting: ${jobs.length}` : null,
  };
}
