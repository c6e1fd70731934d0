/**
 * Videos as OpenAI had them, and SGLang Diffusion and vLLM-Omni have them still: a job that is asked for until it is completed. A model
 * that draws images refuses, as it does everywhere.
 */
import { z } from '@hono/zod-openapi';
import type { Core, Skin } from '../core.ts';
import { checked, endpoint, readForm, readJson } from '../http/endpoint.ts';
import { fileAnswer } from '../http/file-answer.ts';
import { finishedFor } from '../http/finished-for.ts';
import { Problem, problemOfJob } from '../http/problem.ts';
import { isFinished, type Job, type JobRequest } from '../jobs/job.ts';
import { requireDone, unixSeconds } from '../openai/answer.ts';
import { openaiError } from '../openai/error.ts';
import { imageFields } from '../openai/fields.ts';
import { formFields } from '../openai/form.ts';
import { imageJob } from '../openai/image-request.ts';

const tag = 'videos';

const videoFields = imageFields
  .omit({
    n: true,
    partial_images: true,
    stream: true,
    response_format: true,
    output_format: true,
    output_compression: true,
  })
  .extend({
    seconds: z.union([z.string(), z.number()]).nullish().describe('its length, where num_frames does not say it'),
    num_frames: z.int().nullish(),
    fps: z.number().positive().max(1000).nullish().describe("default: the model's"),
    width: z.int().nullish(),
    height: z.int().nullish(),
  });

/** Where `seconds` has to become frames before the model says how many a second has. */
const usualFps = 16;

type VideoJob = Job<'generate'>;

/** Which jobs are videos of this protocol. */
const client = 'videos';

export const videosSkin: Skin = {
  name: tag,
  paths: ['/v1/videos'],
  error: openaiError,
  routes(app, core) {
    const requireVideo = (id: string): VideoJob => {
      const job = core.jobs.get(id.replace(/^video_/, '')) as VideoJob | undefined;
      if (job?.request.client === client) return job;
      throw new Problem(404, `there is no video '${id}'; it may have been removed to make room`);
    };
    const all = (): VideoJob[] => {
      const { queued, running, finished } = core.jobs.list();
      const videos = [...queued, ...running, ...finished].filter(({ request }) => request.client === client);
      return (videos as VideoJob[]).sort((a, b) => b.createdAt - a.createdAt);
    };

    endpoint(
      app,
      { method: 'post', path: '/v1/videos', tag, summary: 'Draw a video; JSON or a form', body: videoFields },
      async (context) => context.json(videoView(core.jobs.submit(await videoRequest(context, core)))),
    );
    endpoint(
      app,
      {
        method: 'post',
        path: '/v1/videos/sync',
        tag,
        summary: 'Draw a video and answer with it',
        body: videoFields,
        answer: '*/*',
      },
      async (context) => {
        const { id } = core.jobs.submit(await videoRequest(context, core));
        const { result } = requireDone(await finishedFor(core, id, context.req.raw.signal), core);
        return fileAnswer(result.files[0]!, id);
      },
    );
    endpoint(
      app,
      {
        method: 'get',
        path: '/v1/videos',
        tag,
        summary: 'All videos',
        query: z.object({ limit: z.string().optional(), after: z.string().optional(), order: z.string().optional() }),
      },
      (context) => {
        const { limit = '20', after, order = 'desc' } = context.req.query();
        const count = Number(limit);
        if (!(Number.isInteger(count) && count >= 1 && count <= 100))
          throw new Problem(400, 'expected an integer from 1 to 100', { param: 'limit' });
        const videos = order === 'asc' ? all().reverse() : all();
        const from = after === undefined ? 0 : videos.findIndex(({ id }) => `video_${id}` === after) + 1;
        const data = videos.slice(from, from + count).map(videoView);
        return context.json({
          object: 'list',
          data,
          first_id: data[0]?.['id'] ?? null,
          last_id: data.at(-1)?.['id'] ?? null,
          has_more: from + count < videos.length,
        });
      },
    );
    endpoint(app, { method: 'get', path: '/v1/videos/{id}', tag, summary: 'One video' }, (context) =>
      context.json(videoView(requireVideo(context.req.param('id')!))),
    );
    endpoint(
      app,
      { method: 'get', path: '/v1/videos/{id}/content', tag, summary: 'Its file', answer: '*/*' },
      (context) => {
        const job = requireVideo(context.req.param('id')!);
        if (!isFinished(job)) throw new Problem(404, 'the video is not completed yet', { code: 'not_ready' });
        if (job.error) throw new Problem(422, problemOfJob(job.error).message);
        const variant = context.req.query('variant') ?? '0';
        const file = job.result?.files[variant === 'video' ? 0 : Number(variant)];
        if (!file) throw new Problem(404, `there is no variant '${variant}' of this video`, { param: 'variant' });
        return fileAnswer(file, job.id);
      },
    );
    endpoint(app, { method: 'delete', path: '/v1/videos/{id}', tag, summary: 'End and forget it' }, (context) => {
      const job = requireVideo(context.req.param('id')!);
      if (isFinished(job)) core.jobs.forget(job.id);
      else core.jobs.cancel(job.id);
      return context.json({ ...videoView(job), object: 'video.deleted', deleted: true, status: 'deleted' });
    });
  },
};

async function videoRequest(context: Parameters<typeof readJson>[0], core: Core): Promise<JobRequest<'generate'>> {
  const isForm = /^multipart\/form-data/i.test(context.req.header('content-type') ?? '');
  const { fields, pictures, mask } = isForm
    ? formFields(await readForm(context))
    : { fields: await readJson(context, z.looseObject({})), pictures: [], mask: undefined };
  if (mask) throw new Problem(400, 'videos are drawn as a whole; leave it out', { param: mask.name });
  const { extra_body: body, extra_params: params, ...others } = fields as Record<string, unknown>;
  const { seconds, fps, num_frames, input_reference, ...asked } = checked(videoFields, {
    ...others,
    ...(body as object | null),
    ...(params as object | null),
  });
  const length = seconds === undefined || seconds === null ? undefined : Number(seconds);
  if (length !== undefined && !(length > 0)) throw new Problem(400, 'expected seconds', { param: 'seconds' });
  // Models make one frame more than a multiple of 4.
  const frames = num_frames ?? (length && 4 * Math.round((length * (fps ?? usualFps)) / 4) + 1);
  const parts = typeof input_reference === 'string' ? [...pictures, input_reference] : pictures;
  const images = await Promise.all(parts.map((part) => core.pictures.fromPart(part, 'input_reference')));
  const given = { ...asked, ...(frames === undefined ? {} : { num_frames: frames }) };
  const { request } = await imageJob(core, given, { images });
  return { ...request, client, input: { ...request.input, output: fps ? { fps } : {} } };
}

const statuses = {
  queued: 'queued',
  running: 'in_progress',
  done: 'completed',
  failed: 'failed',
  cancelled: 'failed',
} as const;

function videoView(job: VideoJob): Record<string, unknown> {
  const { id, model, state, createdAt, finishedAt, progress, request, result, error } = job;
  const { options } = request.input;
  const [file] = result?.files ?? [];
  return {
    id: `video_${id}`,
    object: 'video',
    model,
    status: statuses[state],
    progress: state === 'done' ? 100 : Math.floor((100 * progress.step) / Math.max(1, progress.steps)),
    created_at: unixSeconds(createdAt),
    completed_at: finishedAt === undefined ? null : unixSeconds(finishedAt),
    expires_at: null,
    prompt: options.prompt ?? null,
    seconds: file?.frames && file.fps ? String(Math.round(file.frames / file.fps)) : null,
    size: file ? `${file.width}x${file.height}` : options.width ? `${options.width}x${options.height}` : null,
    num_frames: file?.frames ?? options.numFrames ?? null,
    fps: file?.fps ?? request.input.output?.fps ?? null,
    inference_time_s: result ? result.report.timings.total / 1000 : null,
    remixed_from_video_id: null,
    warnings: result?.report.warnings ?? [],
    error: error ? { code: error.code.toLowerCase(), message: error.message } : null,
  };
}
