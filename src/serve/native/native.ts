/** The server's own protocol: jobs that one creates, watches, fetches and ends. Errors are `{ error: { message, code, param } }`. */
import { z } from '@hono/zod-openapi';
import { streamSSE } from 'hono/streaming';
import type { Skin } from '../core.ts';
import { checked, endpoint, type RequestContext, readJson } from '../http/endpoint.ts';
import { fileAnswer } from '../http/file-answer.ts';
import { Problem } from '../http/problem.ts';
import { isFinished, type Job, type JobEvent } from '../jobs/job.ts';
import { plainOptions } from '../requests/plain-options.ts';
import { jobView, withoutSummary } from './view.ts';

const tag = 'jobs';

const jobBody = z
  .looseObject({
    model: z.string().nullish().describe('name of a model; default: the first'),
    priority: z.number().nullish().describe('higher ones go first; default 0'),
    timeout: z.number().positive().nullish().describe('seconds that it may run'),
    output: z
      .object({
        format: z.enum(['png', 'jpeg', 'webp']).optional().describe('of images; default png'),
        video: z.enum(['mp4', 'webp']).optional().describe('of videos; default mp4 where there is ffmpeg'),
        quality: z.int().min(1).max(100).optional(),
        fps: z.number().positive().max(1000).optional(),
      })
      .nullish(),
    previews: z
      .object({
        count: z.int().min(0).max(1000).optional().describe('as many, spread over the steps'),
        every: z.int().min(1).optional().describe('or one after every so many steps'),
        format: z.enum(['png', 'jpeg', 'webp']).optional().describe('default jpeg'),
        maxSize: z.int().min(8).optional().describe('longest side in pixels'),
      })
      .nullish(),
  })
  .describe('beside these, the options of the model (GET /v1/models): prompt, seed, width, cache, …');

const listQuery = z.object({
  limit: z.string().regex(/^\d+$/, 'expected a number').optional().describe('of the jobs that are over, as many'),
  summary: z
    .enum(['true', 'false'])
    .optional()
    .describe('false leaves out what caches did step by step, which is long'),
});

const eventTypes = 'text/event-stream';

export const nativeSkin: Skin = {
  name: tag,
  paths: ['/', '/v1/jobs'],
  error: ({ message, code, param }) => ({ error: { message, code, ...(param === undefined ? {} : { param }) } }),
  routes(app, core) {
    const { jobs } = core;
    const requireJob = (id: string): Job => {
      const job = jobs.get(id);
      if (job) return job;
      throw new Problem(404, `there is no job '${id}'; it may have been removed to make room`);
    };

    const readJob = async (context: RequestContext) => {
      const { model, priority, timeout, output, previews, ...options } = await readJson(context, jobBody);
      return {
        ...(model ? { model } : {}),
        ...(typeof priority === 'number' ? { priority } : {}),
        ...(timeout ? { timeout } : {}),
        input: { ...(output ? { output } : {}), ...(previews ? { previews } : {}) },
        options: await plainOptions(options, core),
      };
    };
    const created = (context: RequestContext, job: Job) => {
      context.get('log').info({ job: job.id }, 'job created');
      return context.json(jobView(job), 202, { location: `/v1/jobs/${job.id}` });
    };

    endpoint(
      app,
      { method: 'post', path: '/v1/jobs', tag, summary: 'Create a job', body: jobBody, status: 202 },
      async (context) => {
        const { options, input, ...fields } = await readJob(context);
        return created(context, jobs.submit({ kind: 'generate', ...fields, input: { ...input, options } }));
      },
    );
    endpoint(
      app,
      { method: 'get', path: '/v1/jobs', tag, summary: 'All jobs: those that run, wait, are over', query: listQuery },
      (context) => {
        const { limit, summary } = checked(listQuery, context.req.query());
        const { queued, running, finished } = jobs.list();
        const over = limit === undefined ? finished : finished.slice(0, Number(limit));
        const data = [
          ...running.map((job) => jobView(job)),
          ...queued.map(jobView),
          ...over.map((job) => jobView(job)),
        ];
        return context.json({ object: 'list', data: summary === 'false' ? data.map(withoutSummary) : data });
      },
    );
    endpoint(
      app,
      {
        method: 'post',
        path: '/v1/jobs/{id}/again',
        tag,
        summary: 'Create a job like another one, its pictures included, with some of its fields replaced',
        body: jobBody,
        status: 202,
      },
      async (context) => {
        const { request } = requireJob(context.req.param('id')!);
        if (request.kind !== 'generate') throw new Problem(409, 'only jobs that draw can be drawn again');
        const { options, ...fields } = await readJob(context);
        const job = jobs.submit({
          ...request,
          ...fields,
          input: { ...request.input, ...fields.input, options: { ...request.input.options, ...options } },
        });
        return created(context, job);
      },
    );
    endpoint(app, { method: 'get', path: '/v1/jobs/{id}', tag, summary: 'One job' }, (context) => {
      const job = requireJob(context.req.param('id')!);
      const position = jobs.list().queued.indexOf(job);
      return context.json(jobView(job, position < 0 ? undefined : position));
    });
    endpoint(
      app,
      { method: 'delete', path: '/v1/jobs/{id}', tag, summary: 'End a job; one that is over is forgotten' },
      (context) => {
        const job = requireJob(context.req.param('id')!);
        if (isFinished(job)) jobs.forget(job.id);
        else jobs.cancel(job.id);
        return context.json(jobView(job));
      },
    );
    endpoint(
      app,
      { method: 'get', path: '/v1/jobs/{id}/events', tag, summary: 'Its events, past and to come', answer: eventTypes },
      (context) => {
        const { id } = requireJob(context.req.param('id')!);
        const last = Number(context.req.header('last-event-id') ?? Number.NaN);
        return streamSSE(context, async (stream) => {
          const gone = new AbortController();
          stream.onAbort(() => gone.abort());
          const from = Number.isInteger(last) ? last + 1 : 0;
          for await (const { id: number, event } of jobs.events(id, { from, signal: gone.signal }))
            await stream.writeSSE({ id: String(number), event: event.type, data: JSON.stringify(eventView(event)) });
        });
      },
    );
    endpoint(
      app,
      { method: 'get', path: '/v1/jobs/{id}/files/{index}', tag, summary: 'A picture or video', answer: 'image/*' },
      (context) => {
        const { id, result } = requireJob(context.req.param('id')!);
        const index = context.req.param('index')!;
        const file = /^\d+$/.test(index) ? result?.files[Number(index)] : undefined;
        if (!file) throw new Problem(404, `job '${id}' has no file ${index}`);
        return fileAnswer(file, `${id}-${index}`);
      },
    );
    endpoint(
      app,
      { method: 'get', path: '/v1/jobs/{id}/preview', tag, summary: 'Its last preview', answer: 'image/*' },
      (context) => {
        const { id, preview } = requireJob(context.req.param('id')!);
        if (!preview) throw new Problem(404, `job '${id}' has no preview; ask for them with previews`);
        const answer = fileAnswer(preview, `${id}-preview`);
        answer.headers.set('cache-control', 'no-store');
        return answer;
      },
    );
  },
};

/** Pictures in base64. */
function eventView(event: JobEvent): object {
  if (event.type !== 'preview') return event;
  const { bytes, ...about } = event.file;
  return { ...event, file: { ...about, base64: Buffer.from(bytes).toString('base64') } };
}
