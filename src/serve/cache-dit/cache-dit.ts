/**
 * The endpoints of cache-dit 1.3.5's own server. What is left out of a request is the model's default here, not 1024 pixels and 50 steps;
 * `/flush_cache` has as little to do as there, since what a cache remembers ends with its request.
 */
import { randomUUID } from 'node:crypto';
import { z } from '@hono/zod-openapi';
import { strify } from '../../api/summary.ts';
import type { CacheStats } from '../../cache/report/stats.ts';
import type { Core, Skin } from '../core.ts';
import { endpoint, readJson } from '../http/endpoint.ts';
import { finishedFor } from '../http/finished-for.ts';
import { Problem, problemOfJob } from '../http/problem.ts';
import type { Job, JobFile } from '../jobs/job.ts';
import { plainOptions } from '../requests/plain-options.ts';

const tag = 'cache-dit';

const number = (min: number, max: number) => z.coerce.number().min(min).max(max).nullish();
const whole = (min: number, max: number) => z.coerce.number().int().min(min).max(max).nullish();

const generateBody = z.object({
  prompt: z.string(),
  negative_prompt: z.string().nullish(),
  width: whole(64, 4096),
  height: whole(64, 4096),
  num_inference_steps: whole(1, 200),
  guidance_scale: number(0, 20),
  sigmas: z.array(z.number()).nullish(),
  seed: z.int().nullish(),
  num_images: whole(1, 4),
  image_urls: z.array(z.string()).nullish().describe('pictures in base64, data: URLs, or URLs where those are allowed'),
  num_frames: whole(1, 200),
  fps: whole(1, 60),
  include_stats: z.boolean().nullish(),
  output_format: z.enum(['base64', 'path']).nullish().describe('path: files in --output-dir'),
  output_dir: z.string().nullish().describe('a folder in it'),
});

export const cacheDitSkin: Skin = {
  name: tag,
  paths: ['/generate', '/get_model_info', '/flush_cache'],
  error: ({ status, message, param }) =>
    status === 422
      ? { detail: [{ loc: ['body', ...(param?.split('.') ?? [])], msg: message, type: 'value_error' }] }
      : { detail: message },
  routes(app, core) {
    endpoint(app, { method: 'get', path: '/get_model_info', tag, summary: 'The default model' }, (context) => {
      const { name, now } = core.models.list()[0]!;
      return context.json({
        model_path: now.state === 'loaded' ? now.info.path : name,
        device: 'cpu',
        torch_dtype: 'torch.float32',
        enable_cache: core.settings.cache !== undefined,
        is_loaded: now.state === 'loaded',
      });
    });
    endpoint(
      app,
      { method: 'post', path: '/generate', tag, summary: 'Draw images or a video', body: generateBody },
      async (context) => {
        const body = await readJson(context, generateBody).catch((error) => {
          // FastAPI's status for what its schema refuses.
          throw error instanceof Problem && error.code !== 'invalid_json'
            ? new Problem(422, error.message, { param: error.param })
            : error;
        });
        const begin = new Date();
        const job = await draw(core, body, context.req.raw.signal);
        if (!job.result) throw failure(job);
        const { files, report } = job.result;
        const pictures = await Promise.all(files.map((file, i) => shown(file, { core, body, index: i })));
        const isVideo = files.some(({ frames }) => frames !== undefined);
        return context.json({
          ...(isVideo ? { video: pictures[0] } : { images: pictures }),
          ...(body.include_stats ? { stats: { cache_stats: report.summary.map(statsView) } } : {}),
          time_cost: report.timings.total / 1000,
          inference_start_time: begin.toISOString(),
          inference_end_time: new Date(job.finishedAt!).toISOString(),
        });
      },
    );
    endpoint(app, { method: 'post', path: '/flush_cache', tag, summary: 'Says that caches are flushed' }, (context) =>
      context.json({ message: 'Cache flushed successfully' }),
    );
  },
};

async function draw(core: Core, body: z.infer<typeof generateBody>, signal: AbortSignal): Promise<Job<'generate'>> {
  const { image_urls: urls, include_stats: _, output_format, output_dir: __, fps, num_frames, ...options } = body;
  if (output_format === 'path' && !core.outputs)
    throw new Problem(400, 'this server writes no files (--output-dir); take them as base64', {
      param: 'output_format',
    });
  const isVideo = num_frames !== null && num_frames !== undefined && num_frames > 1;
  const image = urls && urls.length > 0 ? (urls.length === 1 ? urls[0] : urls) : undefined;
  // As there, an empty text asks for nothing.
  const negative = options.negative_prompt || null;
  const given = { ...options, negative_prompt: negative, image, ...(isVideo ? { num_frames } : {}) };
  const { id } = core.jobs.submit({
    kind: 'generate',
    input: {
      options: await plainOptions(given, core),
      output: isVideo && fps ? { fps } : {},
    },
  });
  return finishedFor(core, id, signal);
}

/** A file as the request wants it: in base64, or the path where it is now. */
async function shown(
  file: JobFile,
  { core, body, index }: { core: Core; body: z.infer<typeof generateBody>; index: number },
): Promise<string> {
  if (body.output_format !== 'path') return Buffer.from(file.bytes).toString('base64');
  const id = randomUUID().replaceAll('-', '');
  const name = file.frames === undefined ? `image_${id}_${index}` : `video_${id}`;
  return core.outputs!.save(file, { folder: body.output_dir, name, param: 'output_dir' });
}

function failure({ error }: Job): Problem {
  if (!error) return new Problem(499, 'Generation failed: the request was cancelled');
  const { status, message, param } = problemOfJob(error);
  return new Problem(status, `Generation failed: ${message}`, { param: status < 500 ? undefined : param });
}

function statsView(stats: CacheStats): object {
  return { cache_options: strify(stats), cached_steps: stats.cachedSteps, parallelism_config: null };
}
